// Checkproof checks proofs of a ledger, as docs/proofs.md says. It shares nothing with the Python that made them.
//
//	checkproof ROOT PROOF…
//
// For each proof it prints one line of JSON: what was proven, or the step that failed.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A failure names the first step that failed.
type failure struct{ step, why string }

func require(holds bool, step, why string) {
	if !holds {
		panic(failure{step, why})
	}
}

// An object is a JSON object whose members were looked up by their exact names.
type object map[string]any

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: checkproof ROOT PROOF…")
		os.Exit(2)
	}
	root, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, name := range os.Args[2:] {
		data, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		answer, _ := json.Marshal(check(data, root))
		fmt.Println(string(answer))
	}
}

// check checks one proof.
func check(data, trusted []byte) (answer object) {
	defer func() {
		switch found := recover().(type) {
		case nil:
		case failure:
			answer = object{"ok": false, "step": found.step, "why": found.why}
		default: // what has another type than it must have
			answer = object{"ok": false, "step": "form", "why": fmt.Sprint(found)}
		}
	}()
	value, err := parse(data)
	require(err == nil, "form", "not JSON")
	proof := members(value, "form")
	require(number(proof, "format", "form") == 1, "form", "another format")
	roots := checkRoots(list(proof, "roots", "form"), trusted)
	switch text(proof, "type", "form") {
	case "consistency":
		only(proof, "format", "type", "roots", "earlier", "later", "path")
		earlier := checkPublished(roots, member(proof, "earlier", "form"))
		later := checkPublished(roots, member(proof, "later", "form"))
		require(earlier.origin == later.origin, "consistency", "two ledgers")
		err := tlog.CheckTree(hashes(proof, "consistency"), later.size, later.root, earlier.size, earlier.root)
		require(err == nil, "consistency", fmt.Sprint(err))
		return object{"ok": true, "publication": later.number, "earlier": earlier.number}
	case "event":
		only(proof, "format", "type", "roots", "published", "event")
		published := checkPublished(roots, member(proof, "published", "form"))
		index, _ := checkEvent(published, member(proof, "event", "form"))
		return object{"ok": true, "publication": published.number, "event": index}
	case "target":
		only(proof, "format", "type", "roots", "published", "target", "event")
		published := checkPublished(roots, member(proof, "published", "form"))
		answer := object{"ok": true, "publication": published.number}
		var index int64
		var record []byte
		_, hasEvent := proof["event"]
		if hasEvent {
			index, record = checkEvent(published, member(proof, "event", "form"))
			answer["event"] = index
		}
		target, entry := checkTarget(published, member(proof, "target", "form"))
		if hasEvent {
			checkAbout(target, entry, record)
		}
		answer["target"] = target
		answer["sha256"] = text(member(entry, "hashes", "bin"), "sha256", "bin")
		return answer
	}
	panic(failure{"form", "another type"})
}

// checkRoots returns the roots from the trusted one on, by version.
func checkRoots(files []any, trusted []byte) map[int64]object {
	value, err := parse(trusted)
	require(err == nil, "roots", "the trusted root is no JSON")
	given := member(members(value, "roots"), "signed", "roots")
	require(text(given, "_type", "roots") == "root", "roots", "the trusted root is no root")
	from := number(given, "version", "roots")
	roots := map[int64]object{}
	var before object
	for place, file := range files {
		root, signatures := read(file, "root", "roots")
		require(number(root, "version", "roots") == int64(place)+1, "roots", "a version is missing")
		var keys []object
		for _, each := range []object{before, root} {
			if each != nil {
				keys = append(keys, each)
				role := member(member(each, "roles", "roots"), "root", "roots")
				require(signed(root, signatures, role, member(each, "keys", "roots")), "roots", "too few signatures")
			}
		}
		nobodyElse(root, signatures, keys, "roots")
		before = root
		if int64(place)+1 == from {
			require(bytes.Equal(canonical(root), canonical(given)), "roots", "not the trusted root")
		}
		if int64(place)+1 >= from {
			roots[int64(place)+1] = root
		}
	}
	require(len(roots) > 0, "roots", "the trusted root is later")
	return roots
}

// nobodyElse makes sure that every signature of a root is by a root key of one of these roots, and valid.
func nobodyElse(root object, signatures map[string][]byte, roots []object, step string) {
	for keyid, signature := range signatures {
		valid := false
		for _, each := range roots {
			role := member(member(each, "roles", step), "root", step)
			if contains(list(role, "keyids", step), keyid) {
				valid = valid || verify(member(each, "keys", step), keyid, canonical(root), signature)
			}
		}
		require(valid, step, "a signature is not valid, or by somebody else")
	}
}

type publication struct {
	number, size  int64
	root          tlog.Hash
	origin        string
	meta, topRole object
}

func checkPublished(roots map[int64]object, part object) publication {
	only(part, "root", "timestamp", "snapshot")
	root, known := roots[number(part, "root", "form")]
	require(known, "timestamp", "its root is none of those from the trusted one on")
	roles, keys := member(root, "roles", "roots"), member(root, "keys", "roots")
	timestamp, signatures := read(part["timestamp"], "timestamp", "timestamp")
	role := member(roles, "timestamp", "timestamp")
	require(signedAlone(timestamp, signatures, role, keys), "timestamp", "not signed by the online keys")
	stated := member(member(timestamp, "meta", "timestamp"), "snapshot.json", "snapshot")
	file := text(part, "snapshot", "snapshot")
	digest := sha256.Sum256([]byte(file))
	require(number(stated, "length", "timestamp") == int64(len(file)), "snapshot", "length")
	wanted := text(member(stated, "hashes", "timestamp"), "sha256", "timestamp")
	require(wanted == hex.EncodeToString(digest[:]), "snapshot", "SHA-256")
	snapshot, signatures := read(file, "snapshot", "snapshot")
	role = member(roles, "snapshot", "snapshot")
	require(signedAlone(snapshot, signatures, role, keys), "snapshot", "not signed by the online keys")
	version := number(timestamp, "version", "timestamp")
	require(number(snapshot, "version", "snapshot") == version, "snapshot", "version")
	require(number(stated, "version", "timestamp") == version, "snapshot", "version")
	covered := member(snapshot, "x-ledger", "snapshot")
	return publication{
		number:  version,
		size:    number(covered, "size", "snapshot"),
		root:    hash(text(covered, "root_hash", "snapshot"), "snapshot"),
		origin:  text(covered, "origin", "snapshot"),
		meta:    member(snapshot, "meta", "snapshot"),
		topRole: root,
	}
}

func checkEvent(published publication, part object) (int64, []byte) {
	only(part, "index", "path", "record", "leaf_hash")
	index := number(part, "index", "event")
	_, hasRecord := part["record"]
	_, hasLeaf := part["leaf_hash"]
	require(hasRecord != hasLeaf, "event", "a record or the hash of a leaf")
	var record []byte
	var leaf tlog.Hash
	if hasRecord {
		written := text(part, "record", "event")
		decoded, err := base64.StdEncoding.DecodeString(written)
		exact := err == nil && base64.StdEncoding.EncodeToString(decoded) == written
		require(exact, "event", "not base64")
		record, leaf = decoded, tlog.RecordHash(decoded)
		if len(decoded) > 65535 {
			digest := sha256.Sum256(decoded)
			leaf = tlog.RecordHash([]byte(fmt.Sprintf("oversize %d %x", len(decoded), digest)))
		}
	} else {
		leaf = hash(text(part, "leaf_hash", "event"), "event")
	}
	require(index < published.size, "event", "beyond the tree")
	err := tlog.CheckRecord(tlog.RecordProof(hashes(part, "event")), published.size, published.root, index, leaf)
	require(err == nil, "event", fmt.Sprint(err))
	return index, record
}

func checkTarget(published publication, part object) (string, object) {
	only(part, "path", "targets", "bins", "bin")
	target := text(part, "path", "target")
	version := func(role, step string) int64 {
		return number(member(published.meta, role+".json", step), "version", step)
	}
	targets, signatures := read(part["targets"], "targets", "targets")
	require(number(targets, "version", "targets") == version("targets", "targets"), "targets", "version")
	role := member(member(published.topRole, "roles", "roots"), "targets", "roots")
	require(signedAlone(targets, signatures, role, member(published.topRole, "keys", "roots")), "targets", "signatures")

	delegations := member(targets, "delegations", "targets")
	first := members(list(delegations, "roles", "targets")[0], "targets")
	matches := false
	for _, pattern := range list(first, "paths", "targets") {
		found, err := path.Match(pattern.(string), target)
		matches = matches || (found && err == nil)
	}
	require(matches && text(first, "name", "targets") == "bins", "targets", "does not delegate to bins")
	bins, signatures := read(part["bins"], "targets", "bins")
	require(number(bins, "version", "bins") == version("bins", "bins"), "bins", "version")
	require(signedAlone(bins, signatures, first, member(delegations, "keys", "targets")), "bins", "signatures")

	delegations = member(bins, "delegations", "bins")
	name, role := binOf(delegations, target)
	bin, signatures := read(part["bin"], "targets", "bin")
	require(number(bin, "version", "bin") == version(name, "bin"), "bin", "version")
	require(signedAlone(bin, signatures, role, member(delegations, "keys", "bins")), "bin", "signatures")
	return target, member(member(bin, "targets", "bin"), target, "bin")
}

// binOf returns the name of the bin that a target belongs to, and its role (TUF 1.0.34, section 4.5; TAP 15).
func binOf(delegations object, target string) (string, object) {
	digest := sha256.Sum256([]byte(target))
	if _, succinct := delegations["succinct_roles"]; succinct {
		role := member(delegations, "succinct_roles", "bins")
		bits := number(role, "bit_length", "bins")
		require(bits >= 1 && bits <= 32, "bins", "bit_length")
		leading := uint32(digest[0])<<24 | uint32(digest[1])<<16 | uint32(digest[2])<<8 | uint32(digest[3])
		index := strconv.FormatUint(uint64(leading>>(32-bits)), 16)
		width := len(strconv.FormatUint(uint64(1)<<bits-1, 16))
		return text(role, "name_prefix", "bins") + "-" + strings.Repeat("0", width-len(index)) + index, role
	}
	for _, each := range list(delegations, "roles", "bins") {
		role := members(each, "bins")
		for _, prefix := range list(role, "path_hash_prefixes", "bins") {
			if strings.HasPrefix(hex.EncodeToString(digest[:]), prefix.(string)) {
				return text(role, "name", "bins"), role
			}
		}
	}
	panic(failure{"bins", "no bin for the target"})
}

// checkAbout makes sure that a record offers a target, or is about the project whose page it is.
func checkAbout(target string, entry object, record []byte) {
	require(record != nil, "about", "the record is left out")
	value, err := parse(record)
	require(err == nil, "about", "the record is no JSON")
	event := members(value, "about")
	kind, subject := text(event, "type", "about"), text(event, "subject", "about")
	if strings.HasPrefix(target, "simple/") {
		for _, about := range []string{"project.", "release.", "file."} {
			if strings.HasPrefix(kind, about) && path.Dir(strings.TrimPrefix(target, "simple/")) == subject {
				return
			}
		}
	}
	digest := text(member(entry, "hashes", "bin"), "sha256", "bin")
	length := number(entry, "length", "bin")
	data := member(event, "data", "about")
	switch kind {
	case "file.uploaded.v1":
		blake := text(member(data, "hashes", "about"), "blake2b_256", "about")
		require(len(blake) == 64, "about", "BLAKE2b")
		made := "packages/" + blake[:2] + "/" + blake[2:4] + "/" + blake[4:] + "/" + text(data, "filename", "about")
		require(made == target, "about", "another path")
		require(text(member(data, "hashes", "about"), "sha256", "about") == digest, "about", "other bytes")
	case "target.added.v1":
		require(subject == target && text(data, "sha256", "about") == digest, "about", "another target")
	default:
		panic(failure{"about", "another event"})
	}
	require(number(data, "length", "about") == length, "about", "another length")
}

// --- metadata

var lowerHex = regexp.MustCompile(`^([0-9a-f]{2})+$`)

// read returns what a metadata file says, and its signatures. It has exactly one form.
func read(file any, kind, step string) (object, map[string][]byte) {
	written, isText := file.(string)
	require(isText, step, "no file")
	value, err := parse([]byte(written))
	require(err == nil, step, "no JSON")
	require(string(compact(value)) == written, step, "not in canonical form")
	both := members(value, step)
	only(both, "signatures", "signed")
	signatures := map[string][]byte{}
	for _, each := range list(both, "signatures", step) {
		one := members(each, step)
		only(one, "keyid", "sig")
		keyid, sig := text(one, "keyid", step), text(one, "sig", step)
		_, twice := signatures[keyid]
		require(!twice && lowerHex.MatchString(sig), step, "a signature")
		signatures[keyid], _ = hex.DecodeString(sig)
	}
	body := member(both, "signed", step)
	require(text(body, "_type", step) == kind, step, "another kind of file")
	return body, signatures
}

// signed says whether a threshold of a role's keys signed.
func signed(body object, signatures map[string][]byte, role, keys object) bool {
	valid := map[string]bool{}
	for _, each := range list(role, "keyids", "keys") {
		keyid := each.(string)
		if signature, has := signatures[keyid]; has && verify(keys, keyid, canonical(body), signature) {
			valid[keyid] = true
		}
	}
	threshold := number(role, "threshold", "keys")
	return threshold >= 1 && int64(len(valid)) >= threshold
}

// signedAlone says whether a threshold of a role's keys signed, and nobody else.
func signedAlone(body object, signatures map[string][]byte, role, keys object) bool {
	for keyid, signature := range signatures {
		if !contains(list(role, "keyids", "keys"), keyid) || !verify(keys, keyid, canonical(body), signature) {
			return false
		}
	}
	return signed(body, signatures, role, keys)
}

func verify(keys object, keyid string, payload, signature []byte) bool {
	found, known := keys[keyid]
	if !known {
		return false
	}
	key := members(found, "keys")
	id := sha256.Sum256(canonical(key))
	if hex.EncodeToString(id[:]) != keyid {
		return false
	}
	public := text(member(key, "keyval", "keys"), "public", "keys")
	digest := sha256.Sum256(payload)
	if text(key, "scheme", "keys") == "ed25519" {
		raw, err := hex.DecodeString(public)
		return err == nil && len(raw) == ed25519.PublicKeySize && ed25519.Verify(raw, payload, signature)
	}
	block, _ := pem.Decode([]byte(public))
	if block == nil {
		return false
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return false
	}
	switch text(key, "scheme", "keys") {
	case "ecdsa-sha2-nistp256":
		ec, fits := parsed.(*ecdsa.PublicKey)
		return fits && ecdsa.VerifyASN1(ec, digest[:], signature)
	case "rsassa-pss-sha256":
		pss, fits := parsed.(*rsa.PublicKey)
		return fits && rsa.VerifyPSS(pss, crypto.SHA256, digest[:], signature, nil) == nil
	}
	return false
}

// --- JSON

func parse(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return value, nil
}

// canonical returns what signatures cover: only quotation marks and backslashes are escaped.
func canonical(value any) []byte {
	return encode(value, strings.NewReplacer(`\`, `\\`, `"`, `\"`))
}

// compact returns the one form in which a file is served: JSON, sorted, without spaces.
func compact(value any) []byte {
	return encode(value, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`))
}

func encode(value any, escape *strings.Replacer) []byte {
	var out bytes.Buffer
	var write func(any)
	write = func(value any) {
		switch each := value.(type) {
		case map[string]any:
			names := make([]string, 0, len(each))
			for name := range each {
				names = append(names, name)
			}
			sort.Strings(names)
			out.WriteByte('{')
			for place, name := range names {
				if place > 0 {
					out.WriteByte(',')
				}
				write(name)
				out.WriteByte(':')
				write(each[name])
			}
			out.WriteByte('}')
		case object:
			write(map[string]any(each))
		case []any:
			out.WriteByte('[')
			for place, one := range each {
				if place > 0 {
					out.WriteByte(',')
				}
				write(one)
			}
			out.WriteByte(']')
		case string:
			out.WriteString(`"` + escape.Replace(each) + `"`)
		case json.Number:
			out.WriteString(each.String())
		case bool:
			out.WriteString(strconv.FormatBool(each))
		default:
			out.WriteString("null")
		}
	}
	write(value)
	return out.Bytes()
}

func members(value any, step string) object {
	found, fits := value.(map[string]any)
	require(fits, step, "no object")
	return found
}

func member(of object, name, step string) object { return members(of[name], step) }

func text(of object, name, step string) string {
	found, fits := of[name].(string)
	require(fits, step, "no text "+name)
	return found
}

func list(of object, name, step string) []any {
	found, fits := of[name].([]any)
	require(fits && len(found) > 0, step, "no list "+name)
	for _, each := range found {
		require(each != nil, step, "null in "+name)
	}
	return found
}

func number(of object, name, step string) int64 {
	found, fits := of[name].(json.Number)
	require(fits, step, "no number "+name)
	value, err := strconv.ParseInt(found.String(), 10, 64)
	require(err == nil && value >= 0, step, "no number "+name)
	return value
}

func only(of object, names ...string) {
	for name := range of {
		require(contains(toAny(names), name), "form", "unknown member "+name)
	}
}

func toAny(names []string) []any {
	all := make([]any, len(names))
	for place, name := range names {
		all[place] = name
	}
	return all
}

func contains(all []any, wanted string) bool {
	for _, each := range all {
		if each == wanted {
			return true
		}
	}
	return false
}

func hash(written, step string) tlog.Hash {
	require(len(written) == 64 && lowerHex.MatchString(written), step, "no SHA-256")
	var found tlog.Hash
	raw, _ := hex.DecodeString(written)
	copy(found[:], raw)
	return found
}

func hashes(of object, step string) tlog.TreeProof {
	found, fits := of["path"].([]any)
	require(fits, step, "no path")
	all := tlog.TreeProof{}
	for _, each := range found {
		written, isText := each.(string)
		require(isText, step, "no SHA-256")
		all = append(all, hash(written, step))
	}
	return all
}

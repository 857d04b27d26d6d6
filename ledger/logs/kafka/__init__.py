"""The log on Apache Kafka. Only modules in this package import aiokafka."""

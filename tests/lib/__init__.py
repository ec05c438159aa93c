"""What the tests with real processes share: processes, logs, a real Flink, holdfastd, ZooKeeper."""

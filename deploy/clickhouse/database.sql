-- Each shard is a group of its own: a change of the schema runs on its replicas, and no shard waits for another.
CREATE DATABASE IF NOT EXISTS postback ENGINE = Replicated('/clickhouse/databases/postback/{shard}', '{shard}', '{replica}');

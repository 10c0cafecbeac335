-- Schema version 4: what a run's last attempt took; null where nobody could measure it.
ALTER TABLE run ADD COLUMN peak_memory_bytes BIGINT;
ALTER TABLE run ADD COLUMN cpu_ms BIGINT;

-- Schema version 4: what a run's last attempt took; null where nobody could measure it.
ALTER TABLE run ADD COLUMN peak_memory_bytes INTEGER;
ALTER TABLE run ADD COLUMN cpu_ms INTEGER;

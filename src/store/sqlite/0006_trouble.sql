-- Schema version 6: what did not succeed is found by task and by agent without looking through what did.
CREATE INDEX run_trouble_by_task ON run (task, outcome, scheduled_at) WHERE outcome <> 'succeeded';
CREATE INDEX run_trouble_by_agent ON run (agent, outcome, scheduled_at) WHERE outcome <> 'succeeded';

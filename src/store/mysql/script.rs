//! A batch as statements with their values in them, so that the whole batch crosses the network in one packet or
//! a few. Values are quoted by the driver under the session's own rules (utf8mb4, backslash escapes).

use mysql_async::Value;

/// Bytes of a packet after which another is begun; servers take 16 MiB and more.
const PACKET: usize = 1 << 20;
/// Bytes of one statement of many rows.
const STATEMENT: usize = 256 << 10;

/// Statements to carry out in order.
#[derive(Default, Debug)]
pub(super) struct Script {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    text: String,
    /// What follows the rows of an insert.
    tail: &'static str,
    /// How many bytes of the text come before the rows; none where there are no rows.
    head: Option<usize>,
}

impl Script {
    /// Adds a statement; each `?` stands for a value.
    pub(super) fn add(&mut self, sql: &str, values: &[Value]) {
        self.statements.push(Statement {
            text: fill(sql, values),
            tail: "",
            head: None,
        });
    }

    /// Adds a row to an insert: `head` ends with VALUES. Rows of the same insert that follow one another become
    /// one statement.
    pub(super) fn add_row(&mut self, head: &str, row: &[Value], tail: &'static str) {
        let row = fill(&format!("({})", ["?"].repeat(row.len()).join(", ")), row);
        if let Some(last) = self.statements.last_mut() {
            let same = last.tail == tail && last.head.is_some_and(|end| &last.text[..end] == head);
            if same && last.text.len() + row.len() < STATEMENT {
                last.text.push_str(", ");
                last.text.push_str(&row);
                return;
            }
        }
        self.statements.push(Statement {
            text: format!("{head} {row}"),
            tail,
            head: Some(head.len()),
        });
    }

    /// The statements as packets; `last` is the last statement of the last one.
    pub(super) fn packets(&self, last: &str) -> Vec<String> {
        let mut packets = vec![String::new()];
        for statement in &self.statements {
            let length = statement.text.len() + statement.tail.len();
            if packets
                .last()
                .is_some_and(|text| text.len() + length > PACKET)
            {
                packets.push(String::new());
            }
            if let Some(packet) = packets.last_mut() {
                packet.push_str(&statement.text);
                packet.push(' ');
                packet.push_str(statement.tail);
                packet.push_str(";\n");
            }
        }
        if let Some(packet) = packets.last_mut() {
            packet.push_str(last);
        }
        packets.retain(|packet| !packet.is_empty());
        packets
    }
}

/// The statement with its values in place of the question marks.
fn fill(sql: &str, values: &[Value]) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        text.push_str(&value.as_sql(false));
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_insert_become_one_statement_and_all_of_it_one_packet() {
        let mut script = Script::default();
        let row = |n: i64, text: &str| [Value::from(n), Value::from(text)];
        script.add_row("INSERT INTO t VALUES", &row(1, "a?'"), "ON DUPLICATE KEY");
        script.add_row("INSERT INTO t VALUES", &row(2, "b"), "ON DUPLICATE KEY");
        script.add("UPDATE t SET a = ? WHERE b = ?", &row(3, "\\"));
        script.add_row("INSERT INTO t VALUES", &[Value::NULL], "ON DUPLICATE KEY");
        assert_eq!(
            script.packets("COMMIT"),
            [
                "INSERT INTO t VALUES (1, 'a?\\''), (2, 'b') ON DUPLICATE KEY;\n\
              UPDATE t SET a = 3 WHERE b = '\\\\' ;\n\
              INSERT INTO t VALUES (NULL) ON DUPLICATE KEY;\nCOMMIT"
            ]
        );
        assert_eq!(Script::default().packets("COMMIT"), ["COMMIT"]);
    }

    #[test]
    fn what_is_too_long_for_a_packet_is_sent_in_several() {
        let mut script = Script::default();
        let long = "x".repeat(300 << 10);
        for _ in 0..7 {
            script.add_row("INSERT INTO t VALUES", &[Value::from(long.as_str())], "");
        }
        let packets = script.packets("COMMIT");
        assert_eq!(packets.len(), 3);
        assert!(packets[2].ends_with("COMMIT"));
    }
}

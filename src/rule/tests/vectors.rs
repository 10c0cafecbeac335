//! Every line of `tests/cron-vectors.tsv`.

use super::super::Rule;
use super::{at, schedule};

const VECTORS: &str = include_str!("../../../tests/cron-vectors.tsv");

/// The whole file's lines that are cases.
const CASES: usize = 124;

#[test]
fn every_line_of_the_vectors_holds() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in VECTORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("id\t"))
    {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, _, pattern, zone, from, expected] = columns.as_slice() else {
            panic!("not six columns: {line}");
        };
        count += 1;
        let found = answer(&pattern.replace("\\t", "\t"), zone, from, expected);
        if let Err(found) = found {
            wrong.push(format!(
                "{id} `{pattern}` {zone} from {from}:\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, CASES);
}

fn answer(pattern: &str, zone: &str, from: &str, expected: &str) -> Result<(), String> {
    if expected == "REJECT" {
        return match Rule::parse(pattern) {
            Ok(rule) => Err(format!("accepted as {rule:?}")),
            Err(_) => Ok(()),
        };
    }
    if let Err(error) = Rule::parse(pattern) {
        return Err(error.to_string());
    }
    let ends = expected.ends_with("END");
    let expected: Vec<_> = expected
        .split(';')
        .filter(|t| *t != "END")
        .map(at)
        .collect();
    let count = expected.len() + usize::from(ends);
    let found = schedule(pattern, zone).occurrences(at(from), count);
    match found {
        Ok(found) if found == expected => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn every_rule_in_the_tables_of_the_man_page_is_good() {
    let page = include_str!("../../../man/ucron-rule.5");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li ")?.split_once(" Ta "));
    let rules: Vec<&str> = rows
        .map(|(rule, _)| rule)
        .filter(|rule| !rule.contains(" Ar ") && !rule.contains(" No ") && !rule.contains(" , "))
        .collect();
    assert!(rules.len() > 30, "{rules:?}");
    for rule in rules {
        assert!(Rule::parse(rule).is_ok(), "{rule}");
    }
}

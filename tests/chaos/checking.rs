//! Truth and history held against one another, both ways. Every finding is a line of words.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::{Begin, Books, Span};
use crate::faults::FaultLog;
use crate::fleet::{AGENTS, MIX, PROCESSES, Work};
use crate::justice::is_just;
use crate::world::{Run, millis};

/// Everything that is not as promised.
pub fn check(books: &Books, span: &Span, faults: &FaultLog) -> Vec<String> {
    let mut findings = books.repeated.clone();
    findings.extend(doubles(books));
    findings.extend(strangers(books));
    for work in &MIX {
        findings.extend(incomplete(books, span, work));
        if work.flags.contains("--target one") {
            findings.extend(beside(books, work));
        }
    }
    for run in books.runs.values() {
        let wrong = agree(books, run).err().or_else(|| {
            let just = is_just(books, span, faults, run);
            (!just).then(|| "nothing that befell the fleet justifies it".to_owned())
        });
        findings.extend(wrong.map(|wrong| format!("{wrong}: {run:?}")));
    }
    findings.extend(daemons(books));
    findings
}

/// Attempts that began or ended more than once.
fn doubles(books: &Books) -> Vec<String> {
    let begins = books.begins.iter().filter(|(_, begins)| begins.len() > 1);
    let ends = books.ends.iter().filter(|(_, ends)| ends.len() > 1);
    begins
        .map(|(key, begins)| format!("{key:?} was started more than once: {begins:?}"))
        .chain(ends.map(|(key, ends)| format!("{key:?} ended more than once: {ends:?}")))
        .collect()
}

/// Commands of runs that the history does not know.
fn strangers(books: &Books) -> Vec<String> {
    let unknown = |run: &str| !books.runs.contains_key(run);
    let begins = books.begins.iter();
    begins
        .filter(|((run, _), _)| unknown(run))
        .map(|(key, begins)| format!("{key:?} is not in the history: {begins:?}"))
        .collect()
}

/// Occurrences of a task that have not exactly one run per target, and runs that were never due.
fn incomplete(books: &Books, span: &Span, work: &Work) -> Vec<String> {
    let task = format!("web/{}", work.name);
    let mut found: BTreeMap<i64, Vec<&Run>> = BTreeMap::new();
    for run in books.runs.values().filter(|run| run.task == task) {
        let at = millis(&run.scheduled_at);
        found.entry(at).or_default().push(run);
    }
    let mut findings: Vec<_> = found
        .keys()
        .filter(|at| **at % work.every != 0)
        .map(|at| format!("{task} was never due at {at}"))
        .collect();
    for at in (span.from..=span.to).filter(|at| at % work.every == 0) {
        let runs = found.get(&at).map_or(&[][..], Vec::as_slice);
        let agents: BTreeSet<_> = runs.iter().map(|run| &run.agent).collect();
        if runs.len() != work.targets || agents.len() != work.targets {
            findings.push(format!(
                "{task} at {at} has {} runs, not {}: {runs:?}",
                runs.len(),
                work.targets
            ));
        }
    }
    findings
}

/// Runs of target `one` that began before another had ended. Of one without an end nobody knows when it ended.
fn beside(books: &Books, work: &Work) -> Vec<String> {
    let mut spans: Vec<_> = books
        .begins
        .iter()
        .flat_map(|(key, begins)| begins.iter().map(move |begin| (key, begin)))
        .filter(|(_, begin)| begin.task == work.name)
        .map(|(key, begin)| {
            let end = books.ends.get(key).and_then(|ends| ends.first());
            (begin.line, end.map_or(begin.line, |end| end.line), key)
        })
        .collect();
    spans.sort_unstable();
    spans
        .windows(2)
        .filter(|pair| pair[1].0 < pair[0].1)
        .map(|pair| format!("{}: {:?} beside {:?}", work.name, pair[1].2, pair[0].2))
        .collect()
}

/// The history says of a run what its command wrote.
fn agree(books: &Books, run: &Run) -> Result<(), String> {
    let Some(outcome) = run.outcome.as_deref() else {
        return Err("it is open".to_owned());
    };
    for attempt in 1..=run.attempt.max(3) {
        if let Some(begin) = books.begin(run, attempt) {
            is_same(run, begin)?;
        }
    }
    match outcome {
        "missed" | "skipped" => never_began(books, run),
        "succeeded" | "failed" => {
            began(books, run, run.attempt)?;
            exited(books, run)
        }
        "timed_out" => {
            began(books, run, run.attempt)?;
            let end = books.end(run, run.attempt);
            end.map_or(Ok(()), |end| Err(format!("it ended by itself: {end:?}")))
        }
        // One that was ended at once may not have come to write.
        "stopped" => began(books, run, run.attempt.saturating_sub(1)),
        "lost" => Ok(()),
        other => Err(format!("no outcome is called {other}")),
    }
}

fn is_same(run: &Run, begin: &Begin) -> Result<(), String> {
    let task = run.task.split_once('/').map(|(_, name)| name);
    let same = run.agent.as_deref() == Some(&begin.agent)
        && task == Some(&begin.task)
        && run.slot == begin.slot
        && run.scheduled_at == begin.scheduled_at;
    same.then_some(())
        .ok_or_else(|| format!("its command wrote otherwise: {begin:?}"))
}

fn never_began(books: &Books, run: &Run) -> Result<(), String> {
    let begun = (1..=3).find_map(|attempt| books.begin(run, attempt));
    match begun {
        Some(begin) => Err(format!("it was started: {begin:?}")),
        None if run.started_at.is_some() => Err("it says when it started".to_owned()),
        None => Ok(()),
    }
}

/// Every attempt up to this one began, and none after the last.
fn began(books: &Books, run: &Run, until: u16) -> Result<(), String> {
    let missing = (1..=until).find(|attempt| books.begin(run, *attempt).is_none());
    if let Some(attempt) = missing {
        return Err(format!("attempt {attempt} never began"));
    }
    let next = run.attempt + 1;
    if books.begin(run, next).is_some() {
        return Err(format!("attempt {next} began too"));
    }
    if run.cause != "daemon" && run.late_ms.is_none_or(|late| late < 0) {
        return Err("it started before its time, or never".to_owned());
    }
    Ok(())
}

/// The last attempt's exit is the one that its command wrote; those before it failed.
fn exited(books: &Books, run: &Run) -> Result<(), String> {
    let end = books.end(run, run.attempt);
    let same = end.is_some() && run.exit_code == end.map(|end| end.code);
    let good = run.is("succeeded") == (run.exit_code == Some(0));
    let pid = books.begin(run, run.attempt).map(|begin| begin.pid);
    if !same || !good || run.pid != pid {
        return Err(format!("its command wrote {end:?} as {pid:?}"));
    }
    let unfailed =
        (1..run.attempt).find(|attempt| books.end(run, *attempt).is_none_or(|end| end.code == 0));
    unfailed.map_or(Ok(()), |attempt| {
        Err(format!("attempt {attempt} had not failed"))
    })
}

/// Whatever was killed, a daemon's processes were not: one start per slot.
fn daemons(books: &Books) -> Vec<String> {
    let mut slots: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for begin in books.begins.values().flatten() {
        if begin.task == "worker" {
            *slots.entry((&begin.agent, begin.slot)).or_default() += 1;
        }
    }
    let wanted = AGENTS
        .iter()
        .flat_map(|agent| (0..PROCESSES).map(move |slot| (*agent, slot)));
    wanted
        .filter(|place| slots.get(place) != Some(&1))
        .map(|place| {
            let starts = slots.get(&place).copied().unwrap_or_default();
            format!("the daemon in {place:?} was started {starts} times")
        })
        .collect()
}

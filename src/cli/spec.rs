//! From the flags of `add` and `edit` to what a task is. Pure.

use super::args::{Resets, TaskFlags};
use super::fault::Fault;
use crate::model::{Execute, SpecError, TaskSpec, UserName, Work};
use crate::rule::Rule;

/// A new task's spec: what the flags say, defaults for the rest.
pub fn new(flags: &TaskFlags) -> Result<TaskSpec, Fault> {
    of_flags(flags).map_err(refused)?.ok_or_else(|| {
        Fault::usage("`--rule` or `--user` is missing").hint("see `ucron add --help`")
    })
}

/// [`new`], for what has no command line; none where rule or user is missing.
pub fn of_flags(flags: &TaskFlags) -> Result<Option<TaskSpec>, SpecError> {
    let (Some(rule), Some(user)) = (rule_of(flags), flags.user.clone()) else {
        return Ok(None);
    };
    let execute = execute_of(flags).unwrap_or(Execute::Vector(Vec::new()));
    let mut spec = TaskSpec::new(rule, Work::new(execute, user));
    apply(flags, &mut spec);
    spec.check()?;
    Ok(Some(spec))
}

/// Whether these flags could be good in some task.
pub fn check_alone(flags: &TaskFlags) -> Result<(), SpecError> {
    let (Some(rule), Ok(user)) = (always(), UserName::parse("root")) else {
        return Ok(());
    };
    let any = Execute::Vector(vec!["true".to_owned()]);
    let mut spec = TaskSpec::new(rule, Work::new(any, user));
    // A daemon may have any rule.
    spec.work.daemon = true;
    apply(flags, &mut spec);
    spec.check()
}

/// An old task's spec as the flags change it.
pub fn edited(old: &TaskSpec, flags: &TaskFlags, resets: &Resets) -> Result<TaskSpec, Fault> {
    let mut spec = old.clone();
    for flag in &resets.0 {
        reset(flag, &mut spec)?;
    }
    apply(flags, &mut spec);
    check(&spec)?;
    Ok(spec)
}

fn check(spec: &TaskSpec) -> Result<(), Fault> {
    spec.check().map_err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn refused(error: SpecError) -> Fault {
    Fault::usage(error.to_string()).hint("see `ucron add --help`")
}

fn rule_of(flags: &TaskFlags) -> Option<Rule> {
    flags
        .rule
        .clone()
        .or_else(|| flags.daemon.then(always).flatten())
}

fn always() -> Option<Rule> {
    Rule::parse("@always").ok()
}

fn execute_of(flags: &TaskFlags) -> Option<Execute> {
    match (&flags.shell, flags.argv.as_slice()) {
        (Some(line), _) => Some(Execute::Shell(line.clone())),
        (None, []) => None,
        (None, words) => Some(Execute::Vector(words.to_vec())),
    }
}

/// Takes a value where one was given.
fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

fn apply(flags: &TaskFlags, spec: &mut TaskSpec) {
    set(&mut spec.rule, flags.rule.as_ref());
    set(&mut spec.target, flags.target.as_ref());
    set(&mut spec.misfire_grace, flags.misfire_grace.as_ref());
    set(&mut spec.jitter, flags.jitter.as_ref());
    set(
        &mut spec.timezone,
        flags.timezone.clone().map(Some).as_ref(),
    );
    set(&mut spec.note, flags.note.clone().map(Some).as_ref());
    spec.catch_up |= flags.catch_up;
    apply_process(flags, &mut spec.work);
    apply_policy(flags, &mut spec.work);
}

/// What runs, as whom, in which surroundings.
fn apply_process(flags: &TaskFlags, work: &mut Work) {
    set(&mut work.execute, execute_of(flags).as_ref());
    set(&mut work.run_user, flags.user.as_ref());
    set(&mut work.processes, flags.processes.as_ref());
    set(&mut work.cwd, flags.cwd.clone().map(Some).as_ref());
    set(&mut work.umask, flags.umask.as_ref());
    set(&mut work.nice, flags.nice.as_ref());
    set(
        &mut work.env_file,
        flags.env_file.clone().map(Some).as_ref(),
    );
    work.env.extend(flags.env.iter().cloned());
    for limit in &flags.limit {
        work.limits.retain(|known| known.kind != limit.kind);
        work.limits.push(*limit);
    }
}

/// When it ends, and what happens then.
fn apply_policy(flags: &TaskFlags, work: &mut Work) {
    work.daemon |= flags.daemon;
    set(&mut work.overlap, flags.overlap.as_ref());
    set(&mut work.timeout, flags.timeout.map(Some).as_ref());
    set(&mut work.retries, flags.retries.as_ref());
    set(&mut work.backoff, flags.backoff.as_ref());
    if let Some(codes) = &flags.success_codes {
        work.success_codes = codes.iter().copied().collect();
    }
    set(&mut work.output, flags.output.as_ref());
    set(&mut work.stop_signal, flags.stop_signal.as_ref());
    set(&mut work.grace, flags.grace.as_ref());
    set(&mut work.restart, flags.restart.as_ref());
    set(&mut work.start_seconds, flags.start_seconds.as_ref());
    set(&mut work.start_retries, flags.start_retries.as_ref());
    set(&mut work.parole, flags.parole.as_ref());
}

/// Puts one flag back to its default, which is that of a new task.
fn reset(flag: &str, spec: &mut TaskSpec) -> Result<(), Fault> {
    let fresh = fresh(spec);
    let (work, new) = (&mut spec.work, fresh.work);
    match flag {
        // Whether it is on is no part of what it is.
        "disabled" => {}
        "rule" => {
            let daemon = always().filter(|_| work.daemon);
            spec.rule = daemon.ok_or_else(|| {
                Fault::usage("`--no-rule` is for daemons; another task has no default rule")
                    .hint("give `--rule RULE`")
            })?;
        }
        "tz" => spec.timezone = fresh.timezone,
        "catch-up" => spec.catch_up = fresh.catch_up,
        "misfire-grace" => spec.misfire_grace = fresh.misfire_grace,
        "jitter" => spec.jitter = fresh.jitter,
        "note" => spec.note = fresh.note,
        "target" => spec.target = fresh.target,
        "daemon" => work.daemon = new.daemon,
        "processes" => work.processes = new.processes,
        "timeout" => work.timeout = new.timeout,
        "retries" => work.retries = new.retries,
        "backoff" => work.backoff = new.backoff,
        "success-codes" => work.success_codes = new.success_codes,
        "overlap" => work.overlap = new.overlap,
        "stop-signal" => work.stop_signal = new.stop_signal,
        "grace" => work.grace = new.grace,
        "output" => work.output = new.output,
        "cwd" => work.cwd = new.cwd,
        "umask" => work.umask = new.umask,
        "nice" => work.nice = new.nice,
        "env" => work.env = new.env,
        "env-file" => work.env_file = new.env_file,
        "limit" => work.limits = new.limits,
        "restart" => work.restart = new.restart,
        "start-seconds" => work.start_seconds = new.start_seconds,
        "start-retries" => work.start_retries = new.start_retries,
        "parole" => work.parole = new.parole,
        unknown => return Err(Fault::usage(format!("`--no-{unknown}` is unknown"))),
    }
    Ok(())
}

/// The same task with every policy at its default.
fn fresh(spec: &TaskSpec) -> TaskSpec {
    let user: UserName = spec.work.run_user.clone();
    TaskSpec::new(
        spec.rule.clone(),
        Work::new(spec.work.execute.clone(), user),
    )
}

//! What is known of an attempt at its end: its output, what it took, how its reason says that the kernel took processes from it.

use std::time::Duration;

use super::run::Run;
use crate::model::LimitKind;

/// What is known of the output at an attempt's end.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OutputEnd {
    /// Bytes written.
    pub bytes: Option<u64>,
    /// Of them, bytes that were taken out of the middle to keep the cap.
    pub gap: Option<u64>,
    /// Bytes that the command took back by making its file shorter.
    pub cut: Option<u64>,
    /// The last of them.
    pub tail: Option<String>,
}

/// What an attempt took, as far as the kernel told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Used {
    /// Most bytes of memory at a time.
    pub peak_memory: Option<u64>,
    /// Processor time of all its processes.
    pub cpu: Option<Duration>,
    /// Processes that the kernel ended for lack of memory.
    pub out_of_memory: u64,
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What follows the reason of an attempt that the kernel took processes from.
pub(super) fn lack_of_memory(run: &Run, used: Used) -> String {
    if used.out_of_memory == 0 {
        return String::new();
    }
    let mut limits = run.text.work.limits.iter();
    match limits.find(|limit| limit.kind == LimitKind::Memory) {
        Some(limit) => format!("; out of memory at its limit memory={}", limit.value),
        None => "; out of memory on this host".to_owned(),
    }
}

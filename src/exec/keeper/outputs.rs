//! Outputs of active attempts: once a second their sizes are looked at, the cap is kept, and what the command cut
//! off itself is noted. Nothing is looked at while nothing runs.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use tracing::{info, warn};

use super::{Keeper, SIZES_EVERY, SWEEP_AGAIN};
use crate::exec::clock::boot_now;
use crate::exec::dir::{file_name, output_path};
use crate::exec::notes::{self, Growth, Mark};
use crate::exec::output;
use crate::exec::supervise::Key;
use crate::exec::wire::BootMs;

/// This part of all that may stay, written since output was last taken away, is enough to look again.
const SWEEP_SHARE: u64 = 16;

/// What is looked at of one attempt.
#[derive(Default, Debug)]
pub(super) struct Watched {
    /// From the first look on.
    growth: Option<Growth>,
    /// Whether a cap that cannot be kept was told.
    told: bool,
}

impl Keeper {
    pub(super) fn look_at_sizes(&mut self, now: BootMs) {
        self.next_sizes = (!self.children.is_empty()).then(|| now.plus(SIZES_EVERY));
        let keys: Vec<Key> = self.children.keys().cloned().collect();
        for key in keys {
            self.look_at_output(&key, true);
        }
    }

    /// Looks at one output; at its end no size is noted, as the end says when it was.
    pub(super) fn look_at_output(&mut self, key: &Key, runs: bool) {
        let at = self.clock.now().center;
        let base = &self.workshop.output;
        let Some(live) = self.children.get_mut(key) else {
            return;
        };
        let Ok(meta) = std::fs::metadata(output_path(base, key)) else {
            return;
        };
        let Watched { growth, told } = &mut live.output;
        let growth = growth.get_or_insert_with(|| Growth::of(base, key));
        let size = meta.len();
        if size < growth.size {
            let loss = notes::loss(base, key).shrunk(growth.size, size);
            if let Err(e) = notes::put_loss(base, key, loss) {
                warn!(run = %file_name(key), error = %e, "cannot note that a command cut its output");
            }
            notes::forget_marks(base, key);
            *growth = Growth::of(base, key);
        }
        if runs {
            growth.note(base, key, Mark { at, size });
        }
        growth.size = growth.size.max(size);
        let cap = self.settings.output_cap;
        if !self.punches || meta.blocks() * 512 <= cap {
            return;
        }
        match output::keep_cap(base, key, cap) {
            Ok(()) => *told = false,
            Err(e) if e.kind() == ErrorKind::NotFound || *told => {}
            Err(e) => {
                *told = true;
                warn!(run = %file_name(key), error = %e, "the cap of a run's output cannot be kept");
            }
        }
    }

    /// An attempt's output is complete: old output may have to make room for it.
    pub(super) fn count_output(&mut self, bytes: Option<u64>) {
        self.written_output += bytes.unwrap_or(0).min(self.settings.output_cap).max(4096);
        if self.written_output > self.settings.retention.bytes / SWEEP_SHARE {
            let soon = boot_now().plus(SWEEP_AGAIN);
            self.next_sweep = self.next_sweep.min(soon);
        }
    }

    /// Tries what the file system of the output can do, and names one that cannot.
    pub(super) fn try_punching(&mut self) {
        let base = &self.workshop.output;
        match output::can_punch(base) {
            Ok(able) => self.punches = able,
            // A full disk: the first attempt that is over its cap says it again.
            Err(e) => {
                info!(path = %base.display(), error = %e, "cannot try the output's file system");
            }
        }
        if !self.punches {
            warn!(
                path = %base.display(), file_system = output::file_system(base),
                "this file system cannot give back the middle of a file: `output_cap` is not kept there"
            );
        }
    }
}

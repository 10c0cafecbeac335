//! How much room a disk has.

use std::io;
use std::path::Path;

/// Bytes that are free for an account that is not root, and bytes in all, where `dir` is.
pub fn free_space(dir: &Path) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok((bytes(disk.f_bavail), bytes(disk.f_blocks)))
}

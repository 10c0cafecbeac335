//! The system calls that no safe crate offers, and the only unsafe code of ucron: the start of a process, the
//! opening of a file with another account's rights, the exit status behind a pidfd.
//!
//! A process is started by `clone(CLONE_VM | CLONE_VFORK)`: the child shares the keeper's memory until its
//! execve, so a start costs the same whatever the keeper's size; it shares the descriptor table too, until it takes
//! a copy of its beginning (CLOSE_RANGE_UNSHARE), so a start costs the same however many runs there are. Everything the child needs is looked up and
//! laid out before; between clone and execve it makes raw system calls only (glibc's wrappers of the setuid
//! family would change all threads of the keeper) and allocates nothing.
#![allow(
    unsafe_code,
    reason = "clone, raw system calls between clone and execve, one ioctl; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

#[cfg(debug_assertions)]
use super::failpoint::{self, Point, Who};
use super::mark::{self, Mark};

/// Bytes of the child's stack: its frames are small and its calls shallow.
const STACK: usize = 64 * 1024;
/// Signals of Linux, 1 to 64.
const LAST_SIGNAL: libc::c_int = 64;
/// Bytes of the kernel's signal set.
const SIGSET_BYTES: usize = 8;

/// The account a process runs as.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Where the process starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// The directory.
    pub path: CString,
    /// `/` where it cannot be entered, instead of an error.
    pub or_root: bool,
}

/// A resource limit, soft and hard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Everything about a process to be started; nothing is looked up later.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Files to try, in order, as `execvp` does.
    pub files: Vec<CString>,
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The whole environment.
    pub envp: Vec<CString>,
    /// The account to become; the keeper's own where none.
    pub identity: Option<Identity>,
    /// Working directory; the keeper's where none.
    pub directory: Option<Directory>,
    /// File mode mask.
    pub umask: u32,
    /// Priority to set.
    pub nice: Option<i32>,
    /// Limits to set.
    pub limits: Vec<Rlimit>,
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// Standard output.
    pub stdout: BorrowedFd<'a>,
    /// Standard error.
    pub stderr: BorrowedFd<'a>,
    /// Descriptors that stay open, under their numbers.
    pub keep: Vec<BorrowedFd<'a>>,
    /// Held by the child until its execve: what says "half started" to whoever waits for their end.
    pub until_exec: Vec<BorrowedFd<'a>>,
    /// The cgroup in which it is born.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Where the child writes its pid before execve.
    pub mark: Option<Mark<'a>>,
}

/// A process that has reached its execve.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid.
    pub pid: i32,
    /// A descriptor of it: the only way in which it is signalled.
    pub pidfd: OwnedFd,
}

/// The steps between clone and the command, for the words of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i32)]
pub enum Stage {
    /// The clone itself.
    Clone = 1,
    /// Standard descriptors.
    Descriptors,
    /// Resource limits.
    Limits,
    /// Priority.
    Nice,
    /// The run's cgroup.
    Cgroup,
    /// Supplementary groups.
    Groups,
    /// Primary group.
    Gid,
    /// User.
    Uid,
    /// The check that the drop of privileges holds.
    Verify,
    /// Working directory.
    Directory,
    /// The record of the pid.
    Mark,
    /// The execve.
    Exec,
}

impl Stage {
    const ALL: [Self; 12] = [
        Self::Clone,
        Self::Descriptors,
        Self::Limits,
        Self::Nice,
        Self::Cgroup,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Verify,
        Self::Directory,
        Self::Mark,
        Self::Exec,
    ];

    /// What was attempted, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Clone => "making the process",
            Self::Descriptors => "connecting its output",
            Self::Limits => "setting its limits",
            Self::Nice => "setting its priority",
            Self::Cgroup => "entering its cgroup",
            Self::Groups => "setting its groups",
            Self::Gid => "setting its primary group",
            Self::Uid => "setting its user",
            Self::Verify => "checking that privileges are dropped",
            Self::Directory => "entering its directory",
            Self::Mark => "recording its start",
            Self::Exec => "executing the command",
        }
    }
}

/// A process that did not reach its command.
#[derive(Debug)]
pub struct SpawnError {
    /// The step that failed.
    pub stage: Stage,
    /// Why.
    pub error: io::Error,
}

/// Starts a process and returns when it has reached its execve, or has failed before.
pub fn spawn(spawn: &Spawn<'_>) -> Result<Spawned, SpawnError> {
    let argv = pointers(&spawn.argv);
    let envp = pointers(&spawn.envp);
    let keep: Vec<RawFd> = spawn.keep.iter().map(AsRawFd::as_raw_fd).collect();
    let standard = [&spawn.stdin, &spawn.stdout, &spawn.stderr];
    let mut child = Child {
        held: held(spawn),
        top: standard
            .map(|fd| fd.as_raw_fd().unsigned_abs())
            .into_iter()
            .max()
            .unwrap_or(0),
        handled: Handled::All,
        spawn,
        argv: &argv,
        envp: &envp,
        keep: &keep,
        join: None,
        stage: AtomicI32::new(0),
        errno: AtomicI32::new(0),
        #[cfg(debug_assertions)]
        strike: spawn.mark.as_ref().and_then(|_| strike()),
    };
    let failed = |error| SpawnError {
        stage: Stage::Clone,
        error,
    };
    IGNORED.get_or_init(ignored_signals);
    let quiet = Quiet::new().map_err(failed)?;
    let cloned = clone_child(&mut child, spawn.cgroup);
    drop(quiet);
    let spawned = cloned.map_err(failed)?;
    let stage = child.stage.load(Ordering::SeqCst);
    let Some(stage) = Stage::ALL.into_iter().find(|known| *known as i32 == stage) else {
        return Ok(spawned);
    };
    reap(&spawned.pidfd);
    let error = io::Error::from_raw_os_error(child.errno.load(Ordering::SeqCst));
    Err(SpawnError { stage, error })
}

/// Descriptors that the child needs, in order.
fn held(spawn: &Spawn<'_>) -> Vec<u32> {
    let mark = spawn.mark.as_ref().map(|mark| &mark.fd);
    let mut held: Vec<u32> = spawn
        .keep
        .iter()
        .chain(&spawn.until_exec)
        .chain(mark)
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    held.sort_unstable();
    held.dedup();
    held
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    let mut list: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
    list.push(ptr::null());
    list
}

fn reap(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // A child that failed is a zombie already; an error means that somebody else has reaped it.
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// All signals blocked in this thread while a child shares its stack's memory: no handler may run in the child.
struct Quiet(u64);

impl Quiet {
    fn new() -> io::Result<Self> {
        let all = u64::MAX;
        let mut old = 0u64;
        // SAFETY: both pointers are to live 8-byte sets, the size the kernel is told.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const all,
                &raw mut old,
                SIGSET_BYTES,
            )
        };
        if ret == 0 {
            Ok(Self(old))
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the pointer is to a live 8-byte set.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const self.0,
                ptr::null::<u64>(),
                SIGSET_BYTES,
            );
        }
    }
}

/// What parent and child share while the parent is suspended.
struct Child<'a> {
    spawn: &'a Spawn<'a>,
    argv: &'a [*const libc::c_char],
    envp: &'a [*const libc::c_char],
    keep: &'a [RawFd],
    held: Vec<u32>,
    /// The highest of what becomes its standard streams.
    top: u32,
    handled: Handled,
    /// `cgroup.procs` to write to, where the child was not born in its cgroup.
    join: Option<OwnedFd>,
    stage: AtomicI32,
    errno: AtomicI32,
    /// Where a test ends this child or its parent; looked up before, because the child allocates nothing.
    #[cfg(debug_assertions)]
    strike: Option<Strike>,
}

/// Signals that are not at their default in the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handled {
    /// Any may be.
    All,
    /// Those that this process ignores; the kernel has reset the handlers.
    Ignored,
}

/// Where, and whom. A child that has dropped its privileges cannot signal its parent: a thread of the parent does.
#[cfg(debug_assertions)]
#[derive(Clone, Copy)]
struct Strike {
    point: Point,
    who: Who,
}

/// Set by a child in the memory that it shares with its parent.
#[cfg(debug_assertions)]
static PARENT_ENDS: AtomicBool = AtomicBool::new(false);

#[cfg(debug_assertions)]
fn strike() -> Option<Strike> {
    let points = [
        Point::ChildBeforeMark,
        Point::ChildMarked,
        Point::ChildExecFailed,
    ];
    let strike = points.into_iter().find_map(|point| {
        let who = failpoint::armed(point)?;
        Some(Strike { point, who })
    })?;
    if strike.who == Who::Parent {
        std::thread::spawn(|| {
            while !PARENT_ENDS.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            failpoint::end_self();
        });
    }
    Some(strike)
}

impl Child<'_> {
    /// Strikes if a test asked for it; a child that outlives its parent stays half started for a moment.
    #[cfg(debug_assertions)]
    fn reach(&self, point: Point) {
        let Some(strike) = self.strike.filter(|strike| strike.point == point) else {
            return;
        };
        let moment = libc::timespec {
            tv_sec: 0,
            tv_nsec: 500_000_000,
        };
        PARENT_ENDS.store(strike.who == Who::Parent, Ordering::SeqCst);
        // SAFETY: raw system calls; the one pointer is to a live timespec.
        unsafe {
            if strike.who == Who::Itself {
                let own = libc::syscall(libc::SYS_getpid);
                libc::syscall(libc::SYS_kill, own, libc::SIGKILL);
            }
            libc::syscall(
                libc::SYS_nanosleep,
                &raw const moment,
                ptr::null_mut::<libc::timespec>(),
            );
        }
    }
}

fn clone_child(child: &mut Child<'_>, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Spawned> {
    #[cfg(target_arch = "x86_64")]
    if let Some(cgroup) = cgroup {
        match clone_into(child, cgroup) {
            // A container's filter may know `clone` but not `clone3`.
            Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {}
            done => return done,
        }
    }
    if let Some(cgroup) = cgroup {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::empty();
        let join = rustix::fs::openat(cgroup, "cgroup.procs", flags, mode)?;
        let number = join.as_raw_fd().unsigned_abs();
        let place = child.held.partition_point(|fd| *fd < number);
        child.held.insert(place, number);
        child.join = Some(join);
    }
    child.handled = Handled::All;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    clone_plain(child, flags, child_main)
}

/// A child's stack; freed when the parent goes on, that is after execve or exit.
fn stack() -> Vec<u128> {
    Vec::with_capacity(STACK / size_of::<u128>())
}

fn clone_plain<T>(
    shared: &mut T,
    flags: libc::c_int,
    main: extern "C" fn(*mut libc::c_void) -> libc::c_int,
) -> io::Result<Spawned> {
    let mut stack = stack();
    let mut pidfd: RawFd = -1;
    // SAFETY: the stack is ours, 16-byte aligned, and outlives the child's use of it, because CLONE_VFORK
    // suspends this thread until the child has called execve or exited; `shared` likewise. `main` takes
    // exactly the pointer given here and returns only by exiting.
    let pid = unsafe {
        libc::clone(
            main,
            stack.as_mut_ptr().add(stack.capacity()).cast(),
            flags | libc::CLONE_PIDFD | libc::SIGCHLD,
            ptr::from_mut(shared).cast(),
            &raw mut pidfd,
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has stored a new descriptor here, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Spawned { pid, pidfd })
}

/// `clone3` with CLONE_INTO_CGROUP: moving a process into a cgroup after its birth costs milliseconds.
#[cfg(target_arch = "x86_64")]
fn clone_into(child: &mut Child<'_>, cgroup: BorrowedFd<'_>) -> io::Result<Spawned> {
    /// Not in libc's `c_int`, as the next one.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    child.handled = Handled::Ignored;
    let mut stack = stack();
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::CLONE_FILES;
    let args = CloneArgs {
        flags: u64::from(flags.unsigned_abs()) | CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: (stack.capacity() * size_of::<u128>()) as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: u64::from(cgroup.as_raw_fd().unsigned_abs()),
    };
    let ret: i64;
    // SAFETY: the kernel starts the child behind `syscall` on the given stack with this thread's registers; it
    // calls `child_main` with the shared value, which never returns, so no frame of ours is left twice. The
    // parent is suspended meanwhile (CLONE_VFORK) and finds its registers and its own stack unchanged.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => ret,
            in("rdi") &raw const args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") ptr::from_mut(child),
            in("r13") child_main as *const (),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if ret < 0 {
        let errno = i32::try_from(-ret).unwrap_or(libc::EINVAL);
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: the kernel has stored a new descriptor here, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(ret).map_err(io::Error::other)?;
    Ok(Spawned { pid, pidfd })
}

/// `struct clone_args` of `clone3(2)`.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

extern "C" fn child_main(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passed a live `Child` and is suspended while it is used.
    let child = unsafe { &*shared.cast::<Child<'_>>() };
    let (stage, errno) = set_up(child);
    child.errno.store(errno, Ordering::SeqCst);
    child.stage.store(stage as i32, Ordering::SeqCst);
    exit(127)
}

fn exit(code: libc::c_int) -> ! {
    loop {
        // SAFETY: ends this process without running anything of the parent's.
        unsafe { libc::syscall(libc::SYS_exit_group, code) };
    }
}

/// Turns the return value of a raw system call into a step's result.
fn step(stage: Stage, ret: libc::c_long) -> Result<libc::c_long, (Stage, i32)> {
    if ret >= 0 {
        Ok(ret)
    } else {
        Err((stage, errno()))
    }
}

fn errno() -> i32 {
    // SAFETY: points to this thread's errno; the child borrows the suspended parent's.
    unsafe { *libc::__errno_location() }
}

/// All that happens in the child; returns only what went wrong.
fn set_up(child: &Child<'_>) -> (Stage, i32) {
    match prepare(child) {
        Ok(()) => exec(child),
        Err(failed) => failed,
    }
}

fn prepare(child: &Child<'_>) -> Result<(), (Stage, i32)> {
    let spawn = child.spawn;
    reset_signals(child.handled);
    // SAFETY: raw system calls without pointers. A new child leads no process group, so setsid succeeds.
    unsafe {
        libc::syscall(libc::SYS_setsid);
        libc::syscall(libc::SYS_umask, spawn.umask);
    }
    connect(child)?;
    for limit in &spawn.limits {
        set_limit(limit)?;
    }
    if let Some(nice) = spawn.nice {
        // SAFETY: a raw system call without pointers; 0 is PRIO_PROCESS, then this process.
        step(Stage::Nice, unsafe {
            libc::syscall(libc::SYS_setpriority, 0, 0, nice)
        })?;
    }
    if let Some(join) = &child.join {
        // SAFETY: writes one byte of static text to a descriptor that is open.
        step(Stage::Cgroup, unsafe {
            libc::syscall(libc::SYS_write, join.as_raw_fd(), c"0".as_ptr(), 1)
        })?;
    }
    if let Some(identity) = &spawn.identity {
        become_account(identity)?;
    }
    if let Some(directory) = &spawn.directory {
        enter(directory)?;
    }
    Ok(())
}

/// Default dispositions, handled or ignored before; the mask is opened last, just before execve.
fn reset_signals(handled: Handled) {
    /// The kernel's `struct sigaction`: SIG_DFL, no flags, no restorer, empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    let ignored = IGNORED.get().copied().unwrap_or(u64::MAX);
    for signal in 1..=LAST_SIGNAL {
        if handled == Handled::Ignored && ignored & signal_bit(signal) == 0 {
            continue;
        }
        // SAFETY: reads 32 bytes of a live constant; KILL and STOP answer with an error that does not matter.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                ptr::null::<u64>(),
                SIGSET_BYTES,
            );
        }
    }
}

/// The signals that this process ignores, a bit each. That does not change: whoever started it and the standard
/// library's beginning decide it.
static IGNORED: OnceLock<u64> = OnceLock::new();

fn signal_bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

fn ignored_signals() -> u64 {
    let is_ignored = |signal: &libc::c_int| {
        let mut now = [0u64; 4];
        // SAFETY: stores 32 bytes into a live array; nothing is changed.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                *signal,
                ptr::null::<u64>(),
                now.as_mut_ptr(),
                SIGSET_BYTES,
            )
        };
        ret == 0 && now[0] == libc::SIG_IGN as u64
    };
    (1..=LAST_SIGNAL).filter(is_ignored).map(signal_bit).sum()
}

/// A descriptor table of its own, without what lies above everything that the child needs: a keeper may hold
/// thousands, and copying and closing them would take longer than the rest of a start.
fn part(child: &Child<'_>) -> Result<(), (Stage, i32)> {
    let highest = child
        .held
        .last()
        .copied()
        .unwrap_or(0)
        .max(child.top)
        .max(2);
    // SAFETY: raw system calls without pointers. The table is the parent's until one of them succeeds.
    unsafe {
        let parted = libc::syscall(
            libc::SYS_close_range,
            highest.saturating_add(1),
            u32::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        );
        if parted == 0 {
            return Ok(());
        }
        let ret = libc::syscall(libc::SYS_unshare, libc::CLONE_FILES);
        step(Stage::Descriptors, ret).map(drop)
    }
}

fn connect(child: &Child<'_>) -> Result<(), (Stage, i32)> {
    part(child)?;
    let spawn = child.spawn;
    let standard = [&spawn.stdin, &spawn.stdout, &spawn.stderr];
    for (to, from) in (0..).zip(standard) {
        // SAFETY: raw system calls without pointers, in the child's own descriptor table. The keeper holds 0
        // to 2 itself, so no source is overwritten.
        step(Stage::Descriptors, unsafe {
            libc::syscall(libc::SYS_dup3, from.as_raw_fd(), to, 0)
        })?;
    }
    // Everything else is closed now and not by execve: a keeper's socket must not answer for it when it is dead.
    let mut from = 3;
    for fd in &child.held {
        close(from, fd.saturating_sub(1))?;
        from = fd.saturating_add(1);
    }
    close(from, u32::MAX)?;
    for fd in child.keep {
        // SAFETY: clears close-on-exec of a descriptor that is open.
        step(Stage::Descriptors, unsafe {
            libc::syscall(libc::SYS_fcntl, *fd, libc::F_SETFD, 0)
        })?;
    }
    Ok(())
}

fn close(from: u32, to: u32) -> Result<(), (Stage, i32)> {
    if from > to {
        return Ok(());
    }
    // SAFETY: a raw system call without pointers, in the child's own descriptor table.
    step(Stage::Descriptors, unsafe {
        libc::syscall(libc::SYS_close_range, from, to, 0)
    })
    .map(drop)
}

fn set_limit(limit: &Rlimit) -> Result<(), (Stage, i32)> {
    let value = [limit.soft, limit.hard];
    // SAFETY: reads a live `struct rlimit64` (two 64-bit numbers); 0 is this process.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            limit.resource,
            value.as_ptr(),
            ptr::null::<u64>(),
        )
    };
    step(Stage::Limits, ret).map(drop)
}

/// Groups, then group, then user, each with a raw system call, then verified: all three ids, the groups, and
/// that the way back is closed.
fn become_account(identity: &Identity) -> Result<(), (Stage, i32)> {
    let Identity { uid, gid, groups } = identity;
    // SAFETY: raw system calls; the one pointer is to a live list of the length given.
    unsafe {
        let ret = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
        step(Stage::Groups, ret)?;
        let ret = libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid);
        step(Stage::Gid, ret)?;
        let ret = libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid);
        step(Stage::Uid, ret)?;
    }
    let (mut uids, mut gids) = ([u32::MAX; 3], [u32::MAX; 3]);
    // SAFETY: each call stores three 32-bit ids in the live array; getgroups with size 0 stores nothing.
    let count = unsafe {
        let [real, effective, saved] = &mut uids;
        libc::syscall(
            libc::SYS_getresuid,
            &raw mut *real,
            &raw mut *effective,
            &raw mut *saved,
        );
        let [real, effective, saved] = &mut gids;
        libc::syscall(
            libc::SYS_getresgid,
            &raw mut *real,
            &raw mut *effective,
            &raw mut *saved,
        );
        libc::syscall(libc::SYS_getgroups, 0, ptr::null::<u32>())
    };
    let same = uids == [*uid; 3] && gids == [*gid; 3];
    let counted = usize::try_from(count) == Ok(groups.len());
    // SAFETY: a raw system call without pointers, which must fail for everybody but root.
    let closed = *uid == 0 || unsafe { libc::syscall(libc::SYS_setresuid, -1, 0, -1) } < 0;
    if same && counted && closed {
        Ok(())
    } else {
        Err((Stage::Verify, libc::EPERM))
    }
}

fn enter(directory: &Directory) -> Result<(), (Stage, i32)> {
    // SAFETY: reads a live C string.
    let chdir = |path: &CStr| unsafe { libc::syscall(libc::SYS_chdir, path.as_ptr()) };
    match step(Stage::Directory, chdir(&directory.path)) {
        Err(_) if directory.or_root => step(Stage::Directory, chdir(c"/")).map(drop),
        done => done.map(drop),
    }
}

fn exec(child: &Child<'_>) -> (Stage, i32) {
    let spawn = child.spawn;
    let empty = 0u64;
    // SAFETY: reads a live 8-byte set. Handlers are at their defaults, so nothing of the parent's can run.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const empty,
            ptr::null::<u64>(),
            SIGSET_BYTES,
        );
    }
    #[cfg(debug_assertions)]
    child.reach(Point::ChildBeforeMark);
    if let Some(mark) = &spawn.mark
        && let Err(errno) = write_mark(mark, |mark, line| mark.started(own_pid(), boot_ns(), line))
    {
        return (Stage::Mark, errno);
    }
    #[cfg(debug_assertions)]
    child.reach(Point::ChildMarked);
    let errno = try_files(child);
    #[cfg(debug_assertions)]
    child.reach(Point::ChildExecFailed);
    if let Some(mark) = &spawn.mark {
        // The parent hears of it anyway; the record is for the case that there is none any more.
        let _ = write_mark(mark, |mark, line| mark.failed(errno, line));
    }
    (Stage::Exec, errno)
}

/// Executes the first file that can be; the error of `execvp`: "permission denied" goes before "not found".
fn try_files(child: &Child<'_>) -> i32 {
    let mut first = libc::ENOENT;
    for file in &child.spawn.files {
        // SAFETY: the path and both null-terminated arrays are live.
        unsafe {
            libc::syscall(
                libc::SYS_execve,
                file.as_ptr(),
                child.argv.as_ptr(),
                child.envp.as_ptr(),
            );
        }
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => first = libc::EACCES,
            other => return other,
        }
    }
    first
}

fn own_pid() -> i32 {
    // SAFETY: a raw system call without pointers; a pid fits.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    i32::try_from(pid).unwrap_or(0)
}

fn boot_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: stores a timespec in the live value.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec
        .unsigned_abs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec.unsigned_abs())
}

fn write_mark(
    mark: &Mark<'_>,
    fill: impl Fn(&Mark<'_>, &mut [u8; mark::LINE]) -> usize,
) -> Result<(), i32> {
    let mut line = [0u8; mark::LINE];
    let len = fill(mark, &mut line);
    // SAFETY: writes `len` bytes, at most the line's length, of a live array; the file is in append mode.
    let ret = unsafe { libc::syscall(libc::SYS_write, mark.fd.as_raw_fd(), line.as_ptr(), len) };
    if ret < 0 {
        return Err(errno());
    }
    if usize::try_from(ret) == Ok(len) {
        Ok(())
    } else {
        Err(libc::ENOSPC)
    }
}

/// What a child opens for its parent.
struct Opening<'a> {
    identity: &'a Identity,
    path: &'a CStr,
    fd: AtomicI32,
    errno: AtomicI32,
}

/// Opens a file for reading with an account's rights: a child that shares the descriptor table becomes the
/// account and opens it.
pub fn open_as(identity: &Identity, path: &CStr) -> io::Result<OwnedFd> {
    let mut opening = Opening {
        identity,
        path,
        fd: AtomicI32::new(-1),
        errno: AtomicI32::new(libc::EPERM),
    };
    let quiet = Quiet::new()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    let spawned = clone_plain(&mut opening, flags, open_main);
    drop(quiet);
    reap(&spawned?.pidfd);
    let fd = opening.fd.load(Ordering::SeqCst);
    if fd < 0 {
        let errno = opening.errno.load(Ordering::SeqCst);
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: the child opened it in the shared table and is gone; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

extern "C" fn open_main(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passed a live `Opening` and is suspended while it is used.
    let opening = unsafe { &*shared.cast::<Opening<'_>>() };
    if let Err((_, errno)) = become_account(opening.identity) {
        opening.errno.store(errno, Ordering::SeqCst);
        exit(1);
    }
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: reads a live C string.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat,
            libc::AT_FDCWD,
            opening.path.as_ptr(),
            flags,
            0,
        )
    };
    if fd < 0 {
        opening.errno.store(errno(), Ordering::SeqCst);
    } else {
        opening
            .fd
            .store(i32::try_from(fd).unwrap_or(-1), Ordering::SeqCst);
    }
    exit(0)
}

/// Takes over a descriptor that the program was started with, for the stub.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asks for the flags of a number; an error where nothing is open there.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, was passed to this program for this use, and each number is taken over once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// Marks every descriptor above 2 close-on-exec: what this program was started with is nobody's.
pub fn close_inherited_on_exec() {
    // SAFETY: changes a flag only; unknown numbers are passed over.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// How a child ended, and what it and its reaped children took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reaped {
    /// Its exit code, where it exited.
    pub code: Option<i32>,
    /// Else the signal that ended it.
    pub signal: i32,
    /// What they took.
    pub took: Took,
}

/// What processes took, as the kernel counts it for their parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Took {
    /// Bytes of memory of the largest, or of this program: a child that shared its memory until execve is charged
    /// with that.
    largest: u64,
    /// Processor time of all.
    pub cpu: Duration,
}

impl Took {
    /// Bytes of memory of the largest, if that was more than this program ever had.
    pub fn peak_memory(&self) -> Option<u64> {
        /// What was read last; it only grows, and most children are charged with no more.
        static OWN: AtomicU64 = AtomicU64::new(0);
        if self.largest <= OWN.load(Ordering::Relaxed) {
            return None;
        }
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let own: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        let own = own * 1024;
        OWN.store(own, Ordering::Relaxed);
        (self.largest > own).then_some(self.largest)
    }
}

/// Reaps a child that has ended; `None` while it lives.
pub fn reap_ended(pidfd: BorrowedFd<'_>) -> io::Result<Option<Reaped>> {
    // SAFETY: both are plain numbers, for which zeros are values.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: stores a siginfo and a rusage in the live values; the C library's wrapper has no place for the latter.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            &raw mut info,
            libc::WEXITED | libc::WNOHANG,
            &raw mut usage,
        )
    };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid has filled the fields of a SIGCHLD, or left zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let exited = info.si_code == libc::CLD_EXITED;
    Ok((pid != 0).then(|| Reaped {
        code: exited.then_some(status),
        signal: if exited { 0 } else { status },
        took: took(&usage),
    }))
}

/// What all reaped children of this program took.
pub fn children_took() -> Took {
    // SAFETY: plain numbers, for which zeros are values; getrusage stores into the live value.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    took(&usage)
}

fn took(usage: &libc::rusage) -> Took {
    let span = |time: libc::timeval| {
        let part = u32::try_from(time.tv_usec).unwrap_or(0);
        Duration::new(time.tv_sec.unsigned_abs(), part * 1000)
    };
    Took {
        largest: usage.ru_maxrss.unsigned_abs() * 1024,
        cpu: span(usage.ru_utime) + span(usage.ru_stime),
    }
}

/// `struct pidfd_info` of `linux/pidfd.h`, its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;
/// The exit status is asked for and given.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The wait status of a process that is not our child, once its parent has reaped it; `None` while it has
/// not, or where the kernel (before 6.15) does not tell.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request names the size of the live struct that it reads and fills.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (ret == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

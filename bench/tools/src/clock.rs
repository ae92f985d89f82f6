//! Clocks std does not have.

use std::io;

/// The CPU time of another process, all its threads, dead ones too.
#[derive(Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of `pid`.
    pub fn of(pid: i32) -> io::Result<Self> {
        let mut id = 0;
        // SAFETY: `id` is a live clockid_t for the call to write to.
        match unsafe { libc::clock_getcpuclockid(pid, &raw mut id) } {
            0 => Ok(Self(id)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Nanoseconds used so far.
    pub fn read(self) -> u64 {
        read(self.0)
    }
}

/// Nanoseconds since 1970; the clock of the kernel's time stamps.
pub fn now() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Nanoseconds of a clock; 0 if it is gone.
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec for the call to write to.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes sleeps of this thread end when asked, not up to 50 µs later.
pub fn sleep_exactly() {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

//! Which CPU a thread runs on.
#![expect(unsafe_code, reason = "sched_getaffinity and sched_setaffinity have no safe wrapper here")]

use std::io;
use std::mem::{size_of, zeroed};

use libc::{CPU_ISSET, CPU_SET, CPU_SETSIZE, cpu_set_t};

/// Keeps the calling thread on one CPU: the `index`-th of those it may use, counted round when there are fewer. Gives
/// the number of that CPU.
///
/// # Errors
/// As the system says, such as `InvalidInput` where there are more CPUs than a `cpu_set_t` holds.
pub fn pin_thread(index: usize) -> io::Result<usize> {
    // SAFETY: all-zero bits are a cpu_set_t without CPUs.
    let (mut allowed, mut one): (cpu_set_t, cpu_set_t) = unsafe { (zeroed(), zeroed()) };
    // SAFETY: the kernel writes at most the size given to a set of that size; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the numbers are below CPU_SETSIZE, the bits of a set.
    let cpus: Vec<usize> = (0..CPU_SETSIZE as usize).filter(|&cpu| unsafe { CPU_ISSET(cpu, &allowed) }).collect();
    let cpu = index.checked_rem(cpus.len()).and_then(|at| cpus.get(at)).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: as above; the kernel only reads the set.
    unsafe {
        CPU_SET(*cpu, &mut one);
        if libc::sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const one) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(*cpu)
}

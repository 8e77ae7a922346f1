//! The C library's allocator, told to keep little: a role runs for months and needs most at its start.
#![allow(unsafe_code)]

use std::time::Duration;

/// How many heaps the threads share: as many as the runtime has workers. Left alone, glibc makes eight for each core, and
/// what one thread has freed no other can use.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// How long after the start memory is first given back, and the longest time between two such moments.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(320);

/// Limits the heaps; call it before there are threads.
pub fn limit_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) reads two integers; a value that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives memory that is not in use back to the kernel, soon after the start and then ever more seldom, for as long as
/// it is polled.
pub async fn give_back() {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        trim();
        pause = (pause * 2).min(LONGEST);
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the heaps' own locks and touches only what nobody has allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

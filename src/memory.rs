//! The C library's allocator, told to keep little: a role runs for months and needs most at its start.
#![allow(unsafe_code)]

use std::time::Duration;

/// How many heaps the threads share. Left alone, glibc makes eight for each core, and what one thread has freed no other
/// can use; small blocks come from each thread's own cache all the same.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 1;

/// Blocks from this size on are mapped by themselves and go back when they are freed, in bytes. Left alone, glibc raises
/// this with every such block, until the text of a large object leaves a hole in the heap.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 256 << 10;

/// How long after the start memory is first given back, and the longest time between two such moments.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(320);

/// Limits the heaps; call it before there are threads.
pub fn limit_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) reads integers; a value that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
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

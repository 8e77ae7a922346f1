//! The C library's allocator, told to keep little: a role runs for months and needs most at its start.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Blocks from this size on are mapped by themselves and go back when they are freed, in bytes. Left alone, glibc raises
/// this with every such block, until the text of a large object leaves a hole in the heap.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 256 << 10;

/// How long after the start memory is first given back, and the longest time between two such moments.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(320);

/// Lets all threads share so many heaps (with glibc; another C library has its own ways); call it before there are any
/// threads. Left alone, glibc makes eight for each core, and what one thread has freed no other can use; with one, threads
/// that allocate all the time wait for each other.
#[cfg_attr(not(target_env = "gnu"), expect(unused_variables, reason = "only glibc can be told"))]
pub fn limit_heaps(heaps: u8) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) reads integers; a value that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, heaps.into());
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Whether [`lock`] was granted.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Keeps in memory, from now on, whatever of this process is touched (mlockall(2); wants `CAP_IPC_LOCK`). What never is,
/// such as the most of a thread's stack, takes none.
///
/// # Errors
/// The kernel's, most often for want of the capability; nothing is locked then.
pub fn lock() -> io::Result<()> {
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: it has no arguments but flags.
    if unsafe { libc::mlockall(flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    LOCKED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Gives memory that is not in use back to the kernel, soon after the start and then ever more seldom, for as long as
/// it is polled.
pub async fn give_back() {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let locked = LOCKED.load(Ordering::Relaxed);
        if locked {
            // The kernel takes nothing away from what is locked.
            unlock();
        }
        trim();
        // A process that must not wait for its code keeps what it has run since its start.
        if !locked || pause < LONGEST {
            let _ = release_code();
        }
        if locked && let Err(error) = lock() {
            LOCKED.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "memory is no longer locked");
        }
        pause = (pause * 2).min(LONGEST);
    }
}

fn unlock() {
    // SAFETY: it has no arguments; what is in memory stays there until it is needed elsewhere.
    unsafe { libc::munlockall() };
}

fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the heaps' own locks and touches only what nobody has allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Takes the program's own code and constants out of this process's memory, most of which only its start needed: what is
/// executed or read comes back by itself, from the page cache. `None` if the kernel does not say where they lie.
fn release_code() -> Option<()> {
    let own = std::fs::read_link("/proc/self/exe").ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    for (from, to) in code_of(&maps, own.to_str()?) {
        // SAFETY: a private mapping of a file that is not written to (madvise(2)): its pages read the same when they
        // come back.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(from), to - from, libc::MADV_DONTNEED) };
    }
    Some(())
}

/// Where a file's code and constants lie in memory, by proc_pid_maps(5): `7f00-7f40 r-xp OFFSET DEVICE INODE PATH`. The
/// constants are at the file's beginning; what else is read only, the loader has written to.
fn code_of<'a>(maps: &'a str, file: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let named = line.strip_suffix(file).is_some_and(|before| before.ends_with(' '));
        let wanted = named && (rest.starts_with("r-xp ") || rest.starts_with("r--p 00000000 "));
        let bounds = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        wanted.then_some(bounds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_constants_of_the_program_itself_are_let_go() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /bin/it\n2000-5000 r-xp 00001000 fe:00 7 /bin/it\n\
                    5000-6000 r--p 00004000 fe:00 7 /bin/it\n6000-7000 rw-p 00000000 00:00 0 \n\
                    8000-9000 r-xp 00000000 fe:00 9 /lib/libc.so\na000-b000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(code_of(maps, "/bin/it").collect::<Vec<_>>(), [(0x1000, 0x2000), (0x2000, 0x5000)]);
    }

    /// Pages of files that are in this process's memory (`/proc/self/statm`, proc(5)).
    fn file_pages() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(2).unwrap().parse().unwrap()
    }

    #[test]
    fn the_program_goes_on_with_less_of_its_code_in_memory() {
        let before = file_pages();
        assert_eq!(release_code(), Some(()));
        trim();
        let after = file_pages();
        assert!(after < before, "{after} pages after {before}");
    }
}

//! The bpf(2) system call, as far as the gate needs it.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use super::program::Direction;

// Commands, types and flags of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP: libc::c_long = 1;
const MAP_UPDATE: libc::c_long = 2;
const MAP_DELETE: libc::c_long = 3;
const MAP_NEXT_KEY: libc::c_long = 4;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const OBJ_INFO: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
const BEFORE_ALL: u32 = 1 << 3;

/// A map's shape: `bpf_attr` of `BPF_MAP_CREATE`, and the start of `bpf_map_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: u32,
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
}

/// A hash map; memory is taken as entries come.
pub(super) const fn hash(key: u32, value: u32, entries: u32) -> Shape {
    Shape { kind: 1, key, value, entries, flags: 1 }
}

/// An array map of one value that a process can map into its memory.
pub(super) const fn shared(value: u32) -> Shape {
    Shape { kind: 2, key: 4, value, entries: 1, flags: 1 << 10 }
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: `attributes` is a live structure of the size given, whose pointers its maker keeps alive over this call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).expect("a descriptor")) }
}

fn bpf_fd<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let raw = bpf(command, attributes)?;
    // SAFETY: the commands that this is called with return a new descriptor, which nobody else owns.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>() as u64
}

fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name.iter_mut().zip(text.bytes().take(15)).for_each(|(to, from)| *to = from);
    name
}

pub(super) fn raw(fd: &impl AsFd) -> i32 {
    fd.as_fd().as_raw_fd()
}

/// Makes a map.
pub(super) fn create_map(shape: Shape, label: &str) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        shape: [u32; 5],
        inner: u32,
        numa: u32,
        name: [u8; 16],
    }
    let Shape { kind, key, value, entries, flags } = shape;
    let shape = [kind, key, value, entries, flags];
    bpf_fd(MAP_CREATE, &mut Attributes { shape, inner: 0, numa: 0, name: name(label) })
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn element(map: &OwnedFd, key: u64, value: u64) -> Element {
    Element { map: raw(map).cast_unsigned(), padding: 0, key, value, flags: 0 }
}

/// Sets an entry of a map.
pub(super) fn update(map: &OwnedFd, key: &[u8; 16], value: &[u8; 4]) -> io::Result<()> {
    bpf(MAP_UPDATE, &mut element(map, address(key), address(value))).map(drop)
}

/// Reads an entry of a map.
pub(super) fn look_up(map: &OwnedFd, key: &[u8; 16]) -> io::Result<[u8; 4]> {
    let mut value = [0; 4];
    bpf(MAP_LOOKUP, &mut element(map, address(key), std::ptr::from_mut(&mut value) as u64))?;
    Ok(value)
}

/// Removes an entry of a map.
pub(super) fn delete(map: &OwnedFd, key: &[u8; 16]) -> io::Result<()> {
    bpf(MAP_DELETE, &mut element(map, address(key), 0)).map(drop)
}

/// The key after this one, or the first; `None` at the end.
pub(super) fn next_key(map: &OwnedFd, key: Option<&[u8; 16]>) -> io::Result<Option<[u8; 16]>> {
    let mut next = [0; 16];
    let from = key.map_or(0, address);
    match bpf(MAP_NEXT_KEY, &mut element(map, from, std::ptr::from_mut(&mut next) as u64)) {
        Ok(_) => Ok(Some(next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Loads a program for tcx; the kernel's words are part of the error where it refuses.
pub(super) fn load(code: &[[u8; 8]], label: &str) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel: u32,
        flags: u32,
        name: [u8; 16],
    }
    let count = u32::try_from(code.len()).expect("programs here are short");
    let license = c"Apache-2.0";
    let attributes = |log_level, log: &mut [u8]| Attributes {
        kind: SCHED_CLS,
        count,
        code: address(code),
        license: license.as_ptr() as u64,
        log_level,
        log_size: u32::try_from(log.len()).unwrap_or(0),
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel: 0,
        flags: 0,
        name: name(label),
    };
    bpf_fd(PROG_LOAD, &mut attributes(0, &mut [])).map_err(|error| {
        if !matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) {
            return error;
        }
        let mut log = vec![0; 1 << 16];
        let _again = bpf_fd(PROG_LOAD, &mut attributes(1, &mut log));
        let text = String::from_utf8_lossy(log.split(|octet| *octet == 0).next().unwrap_or_default()).into_owned();
        if text.is_empty() { error } else { io::Error::new(error.kind(), format!("{error}: {text}")) }
    })
}

/// Attaches a program to a link before all others there; it stays until the descriptor and its pins are gone.
pub(super) fn attach(program: &OwnedFd, link: u32, direction: Direction) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        link: u32,
        place: u32,
        flags: u32,
        relative: u32,
        padding: u32,
        revision: u64,
    }
    let place = match direction {
        Direction::Ingress => TCX_INGRESS,
        Direction::Egress => TCX_EGRESS,
    };
    let program = raw(program).cast_unsigned();
    bpf_fd(
        LINK_CREATE,
        &mut Attributes { program, link, place, flags: BEFORE_ALL, relative: 0, padding: 0, revision: 0 },
    )
}

/// Puts another program in the place of an attached one, without a gap.
pub(super) fn replace(attached: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        attached: u32,
        program: u32,
        flags: u32,
        old: u32,
    }
    let (attached, program) = (raw(attached).cast_unsigned(), raw(program).cast_unsigned());
    bpf(LINK_UPDATE, &mut Attributes { attached, program, flags: 0, old: 0 }).map(drop)
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Keeps an object at a path of a bpffs beyond this process.
pub(super) fn pin(object: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = text(path)?;
    let fd = raw(object).cast_unsigned();
    bpf(OBJ_PIN, &mut Object { path: path.as_ptr() as u64, fd, flags: 0 }).map(drop)
}

/// Opens what is kept at a path.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = text(path)?;
    bpf_fd(OBJ_GET, &mut Object { path: path.as_ptr() as u64, fd: 0, flags: 0 })
}

/// The first words of an object's `bpf_map_info` or `bpf_link_info`.
fn info(object: &OwnedFd) -> io::Result<[u32; 20]> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut words = [0; 20];
    let fd = raw(object).cast_unsigned();
    let length = u32::try_from(size_of::<[u32; 20]>()).expect("80");
    bpf(OBJ_INFO, &mut Attributes { fd, length, info: std::ptr::from_mut(&mut words) as u64 })?;
    Ok(words)
}

/// A map's shape.
pub(super) fn shape(map: &OwnedFd) -> io::Result<Shape> {
    let [kind, _, key, value, entries, flags, ..] = info(map)?;
    Ok(Shape { kind, key, value, entries, flags })
}

/// The index of the link that a program is attached to; 0 when that link is gone.
pub(super) fn attached_to(attached: &OwnedFd) -> io::Result<u32> {
    // `type`, `id`, `prog_id`, padding, `tcx.ifindex`
    Ok(info(attached)?[4])
}

/// Runs a program on a frame that is not on any wire, and returns its verdict.
pub(super) fn test(program: &OwnedFd, frame: &[u8]) -> io::Result<i32> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        verdict: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        rest: [u64; 6],
    }
    let size_in = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut attributes = Attributes {
        program: raw(program).cast_unsigned(),
        verdict: 0,
        size_in,
        size_out: 0,
        data_in: address(frame),
        data_out: 0,
        rest: [0; 6],
    };
    bpf(PROG_TEST_RUN, &mut attributes)?;
    Ok(attributes.verdict.cast_signed())
}

/// The value of a [`shared`] map in this process's memory.
#[derive(Debug)]
pub(super) struct Shared {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: it is memory that outlives the structure, and is only used through atomics.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn map(map: &OwnedFd, words: usize) -> io::Result<Self> {
        let length = words * size_of::<u64>();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, of the size that the map's value has.
        #[allow(unsafe_code)]
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, raw(map), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, words })
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and `words` words long while `self` lives; the kernel only reads them.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.words)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can borrow it any more.
        #[allow(unsafe_code)]
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<u64>());
        }
    }
}

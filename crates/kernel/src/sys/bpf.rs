//! bpf(2), one function for each command that we use.
//!
//! A function takes what the command needs by type, and builds the `attr` for it, so that no caller can hand the kernel
//! a wrong address or length.

mod layout;

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use knobgate_bpf::ProgramBtf;
use knobgate_bpf::uapi::{BPF_F_RDONLY, BPF_F_REPLACE, BPF_F_TOKEN_FD, BPF_OBJ_NAME_LEN};
use rustix::io::{Errno, Result};

use layout::{
    AttachAttr, BindMapAttr, BtfLoadAttr, FdAttr, IdAttr, InfoAttr, LinkCreateAttr, LinkUpdateAttr,
    MapCreateAttr, MapElemAttr, ObjPathAttr, Plain, ProgLoadAttr, QueryAttr, RawTracepointAttr,
    TokenCreateAttr,
};
pub(crate) use layout::{LinkInfo, MapInfo, ProgramInfo};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const BTF_LOAD: u32 = 18;
const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
const MAP_FREEZE: u32 = 22;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;
const PROG_BIND_MAP: u32 = 35;
const TOKEN_CREATE: u32 = 36;

/// The BPF token of this process. Like its capabilities, it counts for every map, program and BTF.
static TOKEN: OnceLock<OwnedFd> = OnceLock::new();

/// The kinds of object that have ids, with their `GET_NEXT_ID` and `GET_FD_BY_ID` commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Program,
    Map,
    Link,
}

impl Object {
    fn next_id(self) -> u32 {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::Link => 31,
        }
    }

    fn fd_by_id(self) -> u32 {
        match self {
            Self::Program => 13,
            Self::Map => 14,
            Self::Link => 30,
        }
    }
}

/// Calls bpf(2).
///
/// # Safety
///
/// Every address in `attr` must be valid for what `command` does with it: for the length that it uses, and for
/// writing where it writes.
unsafe fn bpf<A: Plain>(command: u32, attr: &mut A) -> Result<RawFd> {
    // SAFETY: `attr` is as long as we say and may be written; the addresses in it are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(result as RawFd)
}

/// Takes the descriptor that a command returned.
fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: called with the fresh result of a command that returns a new descriptor, which nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn address<T: ?Sized>(data: &T) -> u64 {
    std::ptr::from_ref(data).cast::<u8>() as u64
}

fn address_mut<T: ?Sized>(data: &mut T) -> u64 {
    std::ptr::from_mut(data).cast::<u8>() as u64
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Errno::TOOBIG)
}

/// The attributes of a new map.
#[derive(Clone, Copy, Default)]
pub(crate) struct MapSpec<'a> {
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; BPF_OBJ_NAME_LEN],
    /// A map like those that may be in an array or a hash of maps.
    pub(crate) inner: Option<BorrowedFd<'a>>,
    pub(crate) types: Option<TypesSpec<'a>>,
    pub(crate) map_extra: u64,
}

/// The types of keys and values.
#[derive(Clone, Copy)]
pub(crate) struct TypesSpec<'a> {
    pub(crate) btf: BorrowedFd<'a>,
    pub(crate) key_type_id: u32,
    pub(crate) value_type_id: u32,
}

/// The attributes of a new program.
pub(crate) struct ProgramSpec<'a> {
    pub(crate) kind: u32,
    pub(crate) expected_attach_type: u32,
    /// Eight bytes an instruction.
    pub(crate) insns: &'a [u8],
    pub(crate) license: &'a CStr,
    pub(crate) name: [u8; BPF_OBJ_NAME_LEN],
    pub(crate) debug: Option<DebugSpec<'a>>,
}

/// Where the verifier writes, and how much.
pub(crate) struct LogSpec<'a> {
    /// `BPF_LOG_…`
    pub(crate) level: u32,
    pub(crate) buffer: &'a mut [u8],
}

/// BTF and the tables that refer to it.
#[derive(Clone, Copy)]
pub(crate) struct DebugSpec<'a> {
    pub(crate) btf: BorrowedFd<'a>,
    /// Records of [`ProgramBtf::FUNC_INFO_SIZE`] bytes.
    pub(crate) func_info: &'a [u8],
    /// Records of [`ProgramBtf::LINE_INFO_SIZE`] bytes.
    pub(crate) line_info: &'a [u8],
}

/// Makes a BPF token of the root of a bpffs (Linux 6.9).
pub(crate) fn token_create(bpffs: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attr = TokenCreateAttr { flags: 0, bpffs_fd: raw(bpffs) };
    // SAFETY: the attr holds no address.
    unsafe { bpf(TOKEN_CREATE, &mut attr) }.map(owned)
}

/// How the kernel answers to a descriptor that is none: `EBADF` if it knows BPF tokens, `EINVAL` if it does not.
pub(crate) fn token_create_of_nothing() -> Errno {
    let mut attr = TokenCreateAttr { flags: 0, bpffs_fd: u32::MAX };
    // SAFETY: the attr holds no address.
    unsafe { bpf(TOKEN_CREATE, &mut attr) }.map(owned).err().unwrap_or(Errno::BADF)
}

/// Gives this process its token. Fails, with the token, if it has one.
pub(crate) fn use_token(token: OwnedFd) -> std::result::Result<(), OwnedFd> {
    TOKEN.set(token)
}

/// The flag and the descriptor of the token; both 0 without one.
fn token() -> (u32, u32) {
    TOKEN.get().map_or((0, 0), |token| (BPF_F_TOKEN_FD, raw(token.as_fd())))
}

pub(crate) fn map_create(spec: &MapSpec<'_>) -> Result<OwnedFd> {
    let (token_flag, token_fd) = token();
    let mut attr = MapCreateAttr {
        kind: spec.kind,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags | token_flag,
        token_fd,
        name: spec.name,
        inner_map_fd: spec.inner.map_or(0, raw),
        map_extra: spec.map_extra,
        ..MapCreateAttr::default()
    };
    if let Some(types) = spec.types {
        attr.btf_fd = raw(types.btf);
        attr.btf_key_type_id = types.key_type_id;
        attr.btf_value_type_id = types.value_type_id;
    }
    // SAFETY: the attr holds no address.
    unsafe { bpf(MAP_CREATE, &mut attr) }.map(owned)
}

/// The descriptor of a map with its sizes. The element commands trust the caller to know these.
#[derive(Debug)]
pub(crate) struct MapFd {
    fd: OwnedFd,
    info: MapInfo,
    value_bytes: usize,
}

impl MapFd {
    /// Fails with `EOPNOTSUPP` for a per-CPU map if the number of CPUs is unknown.
    pub(crate) fn new(fd: OwnedFd, possible_cpus: Option<usize>) -> Result<Self> {
        const PER_CPU: [u32; 4] = [5, 6, 10, 21];
        let info: MapInfo = info(fd.as_fd())?;
        let value_bytes = if PER_CPU.contains(&info.kind) {
            possible_cpus.ok_or(Errno::OPNOTSUPP)? * (info.value_size as usize).next_multiple_of(8)
        } else {
            info.value_size as usize
        };
        Ok(Self { fd, info, value_bytes })
    }

    pub(crate) fn info(&self) -> &MapInfo {
        &self.info
    }

    /// What user space reads and writes for one key: for a per-CPU map one value for each possible CPU.
    pub(crate) fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Fails with `EINVAL` if the sizes are not those of this map, and with `EOPNOTSUPP` if values in user space do not
    /// have the declared size. They do in hashes, arrays, the per-CPU and LRU variants, LPM tries, arrays of programs, of
    /// perf events, of maps and of cgroups, hashes of maps (4 bytes: descriptors to store, ids to look up), and the storage of
    /// tasks and cgroups.
    fn check(&self, key: &[u8], value: usize) -> Result<()> {
        const ELEMENTS_AS_DECLARED: [u32; 14] = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 29, 32];
        if !ELEMENTS_AS_DECLARED.contains(&self.info.kind) {
            return Err(Errno::OPNOTSUPP);
        }
        if key.len() != self.info.key_size as usize || value != self.value_bytes {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    fn attr(&self, key: &[u8]) -> MapElemAttr {
        MapElemAttr { map_fd: raw(self.fd.as_fd()), key: address(key), ..MapElemAttr::default() }
    }

    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<()> {
        self.check(key, value.len())?;
        let mut attr = MapElemAttr { value: address_mut(value), ..self.attr(key) };
        // SAFETY: the kernel reads a key and writes a value; both are as long as this map's, checked above.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.check(key, value.len())?;
        let mut attr = MapElemAttr { value: address(value), flags, ..self.attr(key) };
        // SAFETY: the kernel reads a key and a value; both are as long as this map's, checked above.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<()> {
        self.check(key, self.value_bytes)?;
        let mut attr = self.attr(key);
        // SAFETY: the kernel reads a key as long as this map's, checked above.
        unsafe { bpf(MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// The key after `key`, or the first one.
    pub(crate) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        let mut next = vec![0; self.info.key_size as usize];
        self.check(key.unwrap_or(&next), self.value_bytes)?;
        let mut attr = MapElemAttr {
            map_fd: raw(self.fd.as_fd()),
            key: key.map_or(0, address),
            value: address_mut(next.as_mut_slice()),
            ..MapElemAttr::default()
        };
        // SAFETY: the kernel reads a key (or none, at address 0) and writes one; both are as long as this map's.
        unsafe { bpf(MAP_GET_NEXT_KEY, &mut attr) }?;
        Ok(next)
    }

    /// Puts a value into a queue or a stack.
    pub(crate) fn push(&self, value: &[u8]) -> Result<()> {
        self.check_queue(value.len())?;
        let fd = raw(self.fd.as_fd());
        let mut attr = MapElemAttr { map_fd: fd, value: address(value), ..MapElemAttr::default() };
        // SAFETY: the kernel reads a value, which is as long as this map's, checked above, and no key.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Takes the next value out of a queue or a stack.
    pub(crate) fn pop(&self, value: &mut [u8]) -> Result<()> {
        self.check_queue(value.len())?;
        let fd = raw(self.fd.as_fd());
        let mut attr = MapElemAttr { map_fd: fd, value: address_mut(value), ..MapElemAttr::default() };
        // SAFETY: the kernel writes a value, which is as long as this map's, checked above, and reads no key.
        unsafe { bpf(MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// As `check`, for maps without keys.
    fn check_queue(&self, value: usize) -> Result<()> {
        const QUEUES: [u32; 2] = [22, 23];
        if !QUEUES.contains(&self.info.kind) {
            return Err(Errno::OPNOTSUPP);
        }
        if value == self.value_bytes { Ok(()) } else { Err(Errno::INVAL) }
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, info: self.info, value_bytes: self.value_bytes })
    }

    pub(crate) fn freeze(&self) -> Result<()> {
        let mut attr = FdAttr { fd: raw(self.fd.as_fd()) };
        // SAFETY: the attr holds no address.
        unsafe { bpf(MAP_FREEZE, &mut attr) }.map(drop)
    }
}

impl AsFd for MapFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Loads a program; with a `log`, the verifier writes there (text that ends with a NUL).
pub(crate) fn prog_load(spec: &ProgramSpec<'_>, log: Option<&mut LogSpec<'_>>) -> Result<OwnedFd> {
    let (prog_flags, token_fd) = token();
    let mut attr = ProgLoadAttr {
        prog_flags,
        token_fd,
        prog_type: spec.kind,
        insn_cnt: length(spec.insns.len() / 8)?,
        insns: address(spec.insns),
        license: address(spec.license),
        prog_name: spec.name,
        expected_attach_type: spec.expected_attach_type,
        ..ProgLoadAttr::default()
    };
    if let Some(log) = log {
        attr.log_level = log.level;
        attr.log_size = length(log.buffer.len())?;
        attr.log_buf = address_mut(&mut *log.buffer);
    }
    if let Some(debug) = spec.debug {
        attr.prog_btf_fd = raw(debug.btf);
        attr.func_info_rec_size = ProgramBtf::FUNC_INFO_SIZE;
        attr.func_info = address(debug.func_info);
        attr.func_info_cnt = length(debug.func_info.len())? / ProgramBtf::FUNC_INFO_SIZE;
        attr.line_info_rec_size = ProgramBtf::LINE_INFO_SIZE;
        attr.line_info = address(debug.line_info);
        attr.line_info_cnt = length(debug.line_info.len())? / ProgramBtf::LINE_INFO_SIZE;
    }
    // SAFETY: the slices and the NUL-terminated license outlive the call; counts come from the slices' lengths; the
    // log is borrowed for writing. (The kernel writes back to the tables only where their record sizes are wrong,
    // and then the expected size into the attr.)
    unsafe { bpf(PROG_LOAD, &mut attr) }.map(owned)
}

pub(crate) fn btf_load(btf: &[u8]) -> Result<OwnedFd> {
    let (flags, token_fd) = token();
    let (btf, btf_size) = (address(btf), length(btf.len())?);
    let mut attr = BtfLoadAttr { btf, btf_size, flags, token_fd, ..BtfLoadAttr::default() };
    // SAFETY: the kernel reads `btf_size` bytes of a slice of that length.
    unsafe { bpf(BTF_LOAD, &mut attr) }.map(owned)
}

/// Makes the program keep a map that its instructions do not use (Linux 5.10).
pub(crate) fn prog_bind_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<()> {
    let mut attr = BindMapAttr { prog_fd: raw(program), map_fd: raw(map), flags: 0 };
    // SAFETY: the attr holds no address.
    unsafe { bpf(PROG_BIND_MAP, &mut attr) }.map(drop)
}

pub(crate) fn obj_pin(object: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let mut attr = ObjPathAttr { path: address(path), fd: raw(object), flags: 0 };
    // SAFETY: the kernel reads a NUL-terminated path.
    unsafe { bpf(OBJ_PIN, &mut attr) }.map(drop)
}

pub(crate) fn obj_get(path: &CStr) -> Result<OwnedFd> {
    let mut attr = ObjPathAttr { path: address(path), ..ObjPathAttr::default() };
    // SAFETY: the kernel reads a NUL-terminated path.
    unsafe { bpf(OBJ_GET, &mut attr) }.map(owned)
}

/// Where a program is attached: flags, and what they refer to.
#[derive(Clone, Copy, Default)]
pub(crate) struct AttachSpec<'a> {
    /// `BPF_F_…`
    pub(crate) flags: u32,
    /// The program to replace.
    pub(crate) replaced: Option<BorrowedFd<'a>>,
    /// The program or link to go before or after.
    pub(crate) relative_to: Option<BorrowedFd<'a>>,
}

pub(crate) fn prog_attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_type: u32,
    spec: AttachSpec<'_>,
) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: raw(cgroup),
        prog_fd: raw(program),
        attach_type,
        flags: spec.flags,
        replaced_fd: spec.replaced.map_or(0, raw),
        relative_fd: spec.relative_to.map_or(0, raw),
        expected_revision: 0,
    };
    // SAFETY: the attr holds no address.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

pub(crate) fn prog_detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let mut attr =
        AttachAttr { target_fd: raw(cgroup), prog_fd: raw(program), attach_type, ..AttachAttr::default() };
    // SAFETY: the attr holds no address.
    unsafe { bpf(PROG_DETACH, &mut attr) }.map(drop)
}

/// Runs a program of type `BPF_PROG_TYPE_RAW_TRACEPOINT` whenever the tracepoint `name` is passed, for as long as the
/// descriptor is open.
pub(crate) fn raw_tracepoint_open(program: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let mut attr = RawTracepointAttr { name: address(name), prog_fd: raw(program), reserved: 0 };
    // SAFETY: the kernel reads a NUL-terminated name.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &mut attr) }.map(owned)
}

/// The result of `PROG_QUERY`, apart from the ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryResult {
    /// How many programs there are, possibly more than fit.
    pub(crate) count: usize,
    pub(crate) attach_flags: u32,
    /// 0 if the kernel does not count revisions.
    pub(crate) revision: u64,
    /// `ids` was too short.
    pub(crate) truncated: bool,
}

pub(crate) fn prog_query(
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
    query_flags: u32,
    ids: &mut [u32],
) -> Result<QueryResult> {
    let mut attr = QueryAttr {
        target_fd: raw(cgroup),
        attach_type,
        query_flags,
        prog_ids: address_mut(ids),
        prog_cnt: length(ids.len())?,
        ..QueryAttr::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` ids to a slice of that length.
    let truncated = match unsafe { bpf(PROG_QUERY, &mut attr) } {
        Ok(_) => false,
        Err(Errno::NOSPC) => true,
        Err(error) => return Err(error),
    };
    Ok(QueryResult {
        count: attr.prog_cnt as usize,
        attach_flags: attr.attach_flags,
        revision: attr.revision,
        truncated,
    })
}

pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: u32,
    spec: AttachSpec<'_>,
) -> Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        prog_fd: raw(program),
        target_fd: raw(target),
        attach_type,
        flags: spec.flags,
        relative_fd: spec.relative_to.map_or(0, raw),
        ..LinkCreateAttr::default()
    };
    // SAFETY: the attr holds no address.
    unsafe { bpf(LINK_CREATE, &mut attr) }.map(owned)
}

/// Replaces the program of a link. Fails with `EPERM` if it is not the old one. Only
/// [`Replacement`](crate::replacement::Replacement) calls this, because some pairs of programs crash some kernels.
pub(crate) fn link_update_unchecked(
    link: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
) -> Result<()> {
    let mut attr = LinkUpdateAttr {
        link_fd: raw(link),
        new_prog_fd: raw(new),
        // Without this flag, the kernel would also replace a program that nobody checked.
        flags: BPF_F_REPLACE,
        old_prog_fd: raw(old),
    };
    // SAFETY: the attr holds no address.
    unsafe { bpf(LINK_UPDATE, &mut attr) }.map(drop)
}

pub(crate) fn link_detach(link: BorrowedFd<'_>) -> Result<()> {
    let mut attr = FdAttr { fd: raw(link) };
    // SAFETY: the attr holds no address.
    unsafe { bpf(LINK_DETACH, &mut attr) }.map(drop)
}

/// The smallest id above `id`; `ENOENT` when there is none.
pub(crate) fn next_id(object: Object, id: u32) -> Result<u32> {
    let mut attr = IdAttr { id, ..IdAttr::default() };
    // SAFETY: the attr holds no address.
    unsafe { bpf(object.next_id(), &mut attr) }?;
    Ok(attr.next_id)
}

pub(crate) fn fd_by_id(object: Object, id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr { id, ..IdAttr::default() };
    // SAFETY: the attr holds no address.
    unsafe { bpf(object.fd_by_id(), &mut attr) }.map(owned)
}

/// A descriptor of the map with which its contents can only be read.
pub(crate) fn read_only_map(id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr { id, open_flags: BPF_F_RDONLY, ..IdAttr::default() };
    // SAFETY: the attr holds no address.
    unsafe { bpf(Object::Map.fd_by_id(), &mut attr) }.map(owned)
}

/// What the kernel says about a descriptor, which must be of the kind that `I` describes.
pub(crate) fn info<I: Info>(fd: BorrowedFd<'_>) -> Result<I> {
    let mut info = I::default();
    fill_info(fd, &mut info)?;
    Ok(info)
}

fn fill_info<I: Info>(fd: BorrowedFd<'_>, info: &mut I) -> Result<()> {
    let mut attr = InfoAttr { fd: raw(fd), info_len: size_of::<I>() as u32, info: address_mut(info) };
    // SAFETY: the kernel writes at most `info_len` bytes to a plain struct of that size. The addresses in it are
    // zero, with which the kernel copies nothing, except as the caller set them up (`program_map_ids`).
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// The structs that `OBJ_GET_INFO_BY_FD` fills.
pub(crate) trait Info: Plain {}
impl Info for ProgramInfo {}
impl Info for MapInfo {}
impl Info for LinkInfo {}

/// The ids of the maps that a program holds.
pub(crate) fn program_map_ids(program: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids: Vec<u32> = Vec::new();
    loop {
        // A program can get another map between two calls (PROG_BIND_MAP): ask again until all fit.
        let mut info = ProgramInfo {
            map_count: length(ids.len())?,
            map_ids: if ids.is_empty() { 0 } else { address_mut(ids.as_mut_slice()) },
            ..ProgramInfo::default()
        };
        fill_info(program, &mut info)?;
        let count = info.map_count as usize;
        if count <= ids.len() {
            ids.truncate(count);
            return Ok(ids);
        }
        ids = vec![0; count];
    }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

//! Prints what the kernel's tables say about each knob of this machine, and which namespaces have another value of it.
//!
//! A program on a cgroup's sysctl hook copies the entry of the kernel's table, and denies the access. So nothing is written, also
//! not to knobs that can only be written; the kernel only reads each value, for the program. `collect-knobs touch` makes the
//! accesses, in that cgroup: once in the namespaces of the machine, and once in a new one of each type.
//!
//! A line for each knob, with tabs between: name, mode, handler, length, address of the value, the eight bytes that the pointers
//! to bounds lead to (in hexadecimal; `-` without a pointer, `=` if it is the value of another knob), and the types of
//! namespaces of which a new one has another value. `.ci/knobs` makes the catalogue of it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use knobgate_bpf::{AluOp, Assembler, Cond, MapDef, MapKind, Program, Reg, Size, StructLayouts, helper_ids};
use knobgate_kernel::{
    Hierarchy, LoadOptions, ScratchCgroup, attach_until_removed, knob_names, load, start_inside,
};

/// The namespaces to compare, each with the options of unshare(1) that make a new one. The first is the machine's own.
const NAMESPACES: [(&str, &[&str]); 6] = [
    ("initial", &[]),
    ("network", &["-n"]),
    ("ipc", &["-i"]),
    ("uts", &["-u"]),
    ("user", &["-U"]),
    ("pid", &["-p", "-f"]),
];

/// The map to which the program copies, and how many entries it has. The first counts the others.
const ENTRIES: &str = "entries";
const ENTRIES_MAX: u32 = 8192;

/// What is in an entry, and where: the name, the kernel's `ctl_table`, and eight bytes each of the rest.
const NAME: i32 = 128;
const TABLE: i16 = NAME as i16;
const TABLE_BYTES: i32 = 80;
const HEAD: i16 = TABLE + TABLE_BYTES as i16;
const TABLE_ADDRESS: i16 = HEAD + 8;
const LEAST: i16 = TABLE_ADDRESS + 8;
const GREATEST: i16 = LEAST + 8;
const ENTRY_BYTES: u32 = GREATEST as u32 + 8;

fn main() -> ExitCode {
    let touched = match std::env::args().nth(1).as_deref() {
        Some("touch") => touch().map_err(Into::into),
        None => collect(),
        Some(other) => Err(format!("{other:?} is no argument").into()),
    };
    match touched {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("collect-knobs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes an access of every knob, which the hook denies.
fn touch() -> io::Result<()> {
    if fs::read("/proc/sys/kernel/ostype").is_ok() {
        return Err(io::Error::other("nothing denies accesses"));
    }
    for name in knob_names()? {
        let path = Path::new("/proc/sys").join(name);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let _ = match metadata.permissions().mode() & 0o444 {
            0 => fs::OpenOptions::new().write(true).open(&path).and_then(|mut knob| knob.write(b"0")),
            _ => fs::File::open(&path).and_then(|mut knob| knob.read(&mut [0; 64])),
        };
    }
    Ok(())
}

fn collect() -> Result<(), Box<dyn Error>> {
    let offsets = Offsets::of_kernel()?;
    let symbols = symbols()?;
    let runs = NAMESPACES.iter().map(|(namespace, options)| {
        eprintln!("collect-knobs: {namespace} namespace");
        knobs_in(options, &offsets).map_err(|error| format!("{namespace} namespace: {error}"))
    });
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let values: HashSet<u64> = runs[0].values().map(|knob| knob.data).collect();
    let mut out = io::stdout().lock();
    for (name, knob) in &runs[0] {
        let others = NAMESPACES
            .iter()
            .zip(&runs)
            .skip(1)
            .filter(|(_, run)| run.get(name).is_some_and(|other| knob.is_another_than(other)));
        let own: Vec<_> = others.map(|((namespace, _), _)| *namespace).collect();
        let own = if own.is_empty() { "-".to_owned() } else { own.join(",") };
        let Entry { mode, length, data, least, greatest, .. } = knob;
        let handler = symbols.get(&knob.handler).map_or("?", String::as_str);
        let bound = |bound: &Option<(u64, u64)>| match *bound {
            None => "-".to_owned(),
            Some((address, _)) if values.contains(&address) => "=".to_owned(),
            Some((_, bytes)) => format!("{bytes:016x}"),
        };
        let (least, greatest) = (bound(least), bound(greatest));
        writeln!(out, "{name}\t{mode:04o}\t{handler}\t{length}\t{data:x}\t{least}\t{greatest}\t{own}")?;
    }
    Ok(())
}

/// The knobs that there are in a new namespace of the type with these options of unshare(1).
fn knobs_in(options: &[&str], offsets: &Offsets) -> Result<BTreeMap<String, Entry>, Box<dyn Error>> {
    let loaded = load(&program(offsets)?, &LoadOptions::default())?;
    let cgroup = ScratchCgroup::create(&Hierarchy::find()?.root()?, "knobgate-test-")?;
    attach_until_removed(&loaded.program, &cgroup)?;
    let this = std::env::current_exe()?;
    let mut command = Command::new(if options.is_empty() { this.as_os_str() } else { "unshare".as_ref() });
    if !options.is_empty() {
        command.args(options).arg(&this);
    }
    start_inside(command.arg("touch"), &cgroup)?;
    let status = command.status()?;
    if !status.success() {
        return Err(format!("touch: {status}").into());
    }
    let map = loaded.map(ENTRIES).ok_or("the program has no map")?;
    let mut knobs = BTreeMap::new();
    let count = map.lookup(&0u32.to_ne_bytes())?.map_or(0, |counter| number(&counter, 0, 4)) as u32;
    if count >= ENTRIES_MAX {
        return Err(format!("there is only room for {ENTRIES_MAX} knobs").into());
    }
    for key in 1..=count {
        let bytes = map.lookup(&key.to_ne_bytes())?.ok_or("the map is too small")?;
        let (name, entry) = Entry::read(&bytes, offsets);
        knobs.insert(name, entry);
    }
    cgroup.finish()?;
    Ok(knobs)
}

/// Where the kernel's structures have what is read. To find one of them takes long.
struct Offsets {
    head: u32,
    table: u32,
    table_size: u32,
    mode: u32,
    proc_handler: u32,
    maxlen: u32,
    data: u32,
    extra1: u32,
    extra2: u32,
}

impl Offsets {
    fn of_kernel() -> Result<Self, Box<dyn Error>> {
        let btf = fs::read("/sys/kernel/btf/vmlinux")?;
        let layouts = StructLayouts::read(&btf)?;
        Ok(Self {
            head: layouts.offset("bpf_sysctl_kern.head")?,
            table: layouts.offset("bpf_sysctl_kern.table")?,
            table_size: layouts.size("ctl_table")?,
            mode: layouts.offset("ctl_table.mode")?,
            proc_handler: layouts.offset("ctl_table.proc_handler")?,
            maxlen: layouts.offset("ctl_table.maxlen")?,
            data: layouts.offset("ctl_table.data")?,
            extra1: layouts.offset("ctl_table.extra1")?,
            extra2: layouts.offset("ctl_table.extra2")?,
        })
    }
}

/// What a table says about a knob.
struct Entry {
    mode: u64,
    handler: u64,
    length: u64,
    data: u64,
    /// The address of the bound, and what is there.
    least: Option<(u64, u64)>,
    greatest: Option<(u64, u64)>,
    head: u64,
}

impl Entry {
    /// From what the program has copied.
    fn read(bytes: &[u8], offsets: &Offsets) -> (String, Self) {
        let name = bytes[..NAME as usize].split(|&byte| byte == 0).next().unwrap_or_default();
        let member = |offset: u32, size| number(bytes, TABLE as usize + offset as usize, size);
        let bound = |pointer: u64, at: i16| (pointer != 0).then(|| (pointer, number(bytes, at as usize, 8)));
        let entry = Self {
            mode: member(offsets.mode, 2),
            handler: member(offsets.proc_handler, 8),
            length: member(offsets.maxlen, 4),
            data: member(offsets.data, 8),
            least: bound(member(offsets.extra1, 8), LEAST),
            greatest: bound(member(offsets.extra2, 8), GREATEST),
            head: number(bytes, HEAD as usize, 8),
        };
        (String::from_utf8_lossy(name).into_owned(), entry)
    }

    /// Whether this is another knob of the same name. Some handlers find the value without the table.
    fn is_another_than(&self, other: &Self) -> bool {
        if self.data == 0 { self.head != other.head } else { self.data != other.data }
    }
}

/// Copies what the hook is called with to the next entry of a map, and denies the access.
fn program(offsets: &Offsets) -> Result<Program, Box<dyn Error>> {
    let mut asm = Assembler::new();
    let end = asm.new_label();
    let lookup = |asm: &mut Assembler| {
        asm.mov(Reg::R2, Reg::R10);
        asm.alu(AluOp::Add, Reg::R2, -4);
        asm.load_map(Reg::R1, 0);
        asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
        asm.jump_if(Cond::Eq, Reg::R0, 0, end);
        asm.mov(Reg::R7, Reg::R0);
    };
    let address = |asm: &mut Assembler, at: i16| {
        asm.mov(Reg::R1, Reg::R7);
        asm.alu(AluOp::Add, Reg::R1, i32::from(at));
    };
    // Reads from the address in R3 plus `offset`.
    let read = |asm: &mut Assembler, at: i16, size: i32, offset: u32| {
        asm.alu(AluOp::Add, Reg::R3, offset as i32);
        address(asm, at);
        asm.mov(Reg::R2, size);
        asm.call_helper(helper_ids::PROBE_READ_KERNEL);
    };
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R1, 0);
    asm.store(Size::U32, Reg::R10, -4, Reg::R1);
    lookup(&mut asm);
    asm.load(Size::U32, Reg::R1, Reg::R7, 0);
    asm.alu(AluOp::Add, Reg::R1, 1);
    asm.store(Size::U32, Reg::R7, 0, Reg::R1);
    asm.store(Size::U32, Reg::R10, -4, Reg::R1);
    lookup(&mut asm);
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, Reg::R7);
    asm.mov(Reg::R3, NAME);
    asm.mov(Reg::R4, 0);
    asm.call_helper(helper_ids::SYSCTL_GET_NAME);
    for (at, offset) in [(HEAD, offsets.head), (TABLE_ADDRESS, offsets.table)] {
        asm.mov(Reg::R3, Reg::R6);
        read(&mut asm, at, 8, offset);
    }
    asm.load(Size::U64, Reg::R3, Reg::R7, TABLE_ADDRESS);
    read(&mut asm, TABLE, i32::try_from(offsets.table_size)?.min(TABLE_BYTES), 0);
    for (at, offset) in [(LEAST, offsets.extra1), (GREATEST, offsets.extra2)] {
        asm.load(Size::U64, Reg::R3, Reg::R7, TABLE + offset as i16);
        read(&mut asm, at, 8, 0);
    }
    asm.bind(end);
    asm.mov(Reg::R0, 0);
    asm.exit();
    let map = MapDef {
        name: ENTRIES.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: ENTRY_BYTES,
        max_entries: ENTRIES_MAX,
        ..MapDef::default()
    };
    Ok(Program { name: "collect".to_owned(), maps: vec![map], ..Program::from(asm.finish(false)?) })
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The names of addresses.
fn symbols() -> io::Result<HashMap<u64, String>> {
    let text = fs::read_to_string("/proc/kallsyms")?;
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u64::from_str_radix(fields.next()?, 16).ok()?;
        Some((address, fields.nth(1)?.to_owned()))
    });
    Ok(lines.collect())
}

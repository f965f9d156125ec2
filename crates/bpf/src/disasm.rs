//! Instructions and programs as text, in the syntax of the kernel's verifier (`kernel/bpf/disasm.c`), so that
//! what is printed here can be found in a verifier's log and in `bpftool prog dump xlated`.

use std::collections::BTreeSet;
use std::fmt;

use crate::{
    AluOp, AtomicOp, ByteOrder, Callee, Cond, Function, Helper, Imm64, Insn, MapReference, Operand,
    Operation, Program, Reg, Size, Width,
};

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Alu { width, op, dst, operand } => {
                write!(f, "{} {}= {}", Named(width, dst), sign(op), Second(width, operand))
            }
            Self::Mov { width, dst, operand } => {
                write!(f, "{} = {}", Named(width, dst), Second(width, operand))
            }
            Self::MovSigned { width, size, dst, src } => {
                write!(f, "{} = (s{}){}", Named(width, dst), size.bits(), Named(width, src))
            }
            Self::Neg { width, dst } => write!(f, "{} = -{}", Named(width, dst), Named(width, dst)),
            Self::Swap { order, size, dst } => {
                let order = match order {
                    ByteOrder::ToLittle => "le",
                    ByteOrder::ToBig => "be",
                    ByteOrder::Swap => "bswap",
                };
                write!(f, "{dst} = {order}{} {dst}", size.bits())
            }
            Self::Load { size, signed, dst, base, off } => {
                let sign = if signed { 's' } else { 'u' };
                write!(f, "{dst} = *({sign}{} *)({base} {off:+})", size.bits())
            }
            Self::Store { size, base, off, operand } => {
                write!(f, "*{} = {}", Memory(size, base, off), Second(Width::W64, operand))
            }
            Self::Atomic { op, size, base, off, src } => {
                write_atomic(f, op, size, Memory(size, base, off), src)
            }
            Self::LoadAcquire { size, dst, base, off } => {
                write!(f, "{dst} = load_acquire({})", Memory(size, base, off))
            }
            Self::StoreRelease { size, base, off, src } => {
                write!(f, "store_release({}, {src})", Memory(size, base, off))
            }
            Self::LoadImm64 { dst, imm } => write!(f, "{dst} = {imm}"),
            Self::LoadPacket { size, index: None, imm } => write!(f, "r0 = *(u{} *)skb[{imm}]", size.bits()),
            Self::LoadPacket { size, index: Some(index), imm } => {
                write!(f, "r0 = *(u{} *)skb[{index} + {imm}]", size.bits())
            }
            Self::Jump { off, long: false } => write!(f, "goto pc{off:+}"),
            Self::Jump { off, long: true } => write!(f, "gotol pc{off:+}"),
            Self::JumpIf { width, cond, dst, operand, off } => {
                write!(f, "if {} {} ", Named(width, dst), comparison(cond))?;
                match operand {
                    Operand::Imm(imm) => write!(f, "{imm:#x} goto pc{off:+}"),
                    Operand::Reg(src) => write!(f, "{} goto pc{off:+}", Named(width, src)),
                }
            }
            Self::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Self::Call { callee: Callee::Helper(id) } => {
                write!(f, "call {}#{id}", Helper::find(id).map_or("unknown", |helper| helper.name))
            }
            Self::Call { callee: Callee::Function(off) } => write!(f, "call pc{off:+}"),
            Self::Call { callee: Callee::Kfunc { btf_id, .. } } => write!(f, "call kernel-function#{btf_id}"),
            Self::Exit => f.write_str("exit"),
        }
    }
}

impl fmt::Display for Imm64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value:#x}"),
            Self::Map { fd } => write!(f, "map[fd:{fd}]"),
            Self::MapValue { fd, offset } => write!(f, "map[fd:{fd}]+{offset}"),
            Self::Variable { btf_id, .. } => write!(f, "var[id:{btf_id}]"),
            Self::Function { off } => write!(f, "subprog[{off:+}]"),
            Self::MapIndex { index } => write!(f, "map[idx:{index}]"),
            Self::MapIndexValue { index, offset } => write!(f, "map[idx:{index}]+{offset}"),
        }
    }
}

/// A register, by its name for this width.
struct Named(Width, Reg);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.0 {
            Width::W32 => 'w',
            Width::W64 => 'r',
        };
        write!(f, "{letter}{}", self.1.number())
    }
}

struct Second(Width, Operand);

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Operand::Imm(imm) => write!(f, "{imm}"),
            Operand::Reg(register) => Named(self.0, register).fmt(f),
        }
    }
}

struct Memory(Size, Reg, i16);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(u{} *)({} {:+})", self.0.bits(), self.1, self.2)
    }
}

fn sign(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+",
        AluOp::Sub => "-",
        AluOp::Mul => "*",
        AluOp::Div => "/",
        AluOp::SDiv => "s/",
        AluOp::Or => "|",
        AluOp::And => "&",
        AluOp::Lsh => "<<",
        AluOp::Rsh => ">>",
        AluOp::Mod => "%",
        AluOp::SMod => "s%",
        AluOp::Xor => "^",
        AluOp::Arsh => "s>>",
    }
}

fn comparison(cond: Cond) -> &'static str {
    match cond {
        Cond::Eq => "==",
        Cond::Ne => "!=",
        Cond::Gt => ">",
        Cond::Ge => ">=",
        Cond::Lt => "<",
        Cond::Le => "<=",
        Cond::SGt => "s>",
        Cond::SGe => "s>=",
        Cond::SLt => "s<",
        Cond::SLe => "s<=",
        Cond::Set => "&",
    }
}

fn write_atomic(
    f: &mut fmt::Formatter<'_>,
    op: AtomicOp,
    size: Size,
    memory: Memory,
    src: Reg,
) -> fmt::Result {
    let width = if size == Size::U64 { "64" } else { "" };
    match op {
        AtomicOp::Add => write!(f, "lock *{memory} += {src}"),
        AtomicOp::Or => write!(f, "lock *{memory} |= {src}"),
        AtomicOp::And => write!(f, "lock *{memory} &= {src}"),
        AtomicOp::Xor => write!(f, "lock *{memory} ^= {src}"),
        AtomicOp::FetchAdd => write!(f, "{src} = atomic{width}_fetch_add({memory}, {src})"),
        AtomicOp::FetchOr => write!(f, "{src} = atomic{width}_fetch_or({memory}, {src})"),
        AtomicOp::FetchAnd => write!(f, "{src} = atomic{width}_fetch_and({memory}, {src})"),
        AtomicOp::FetchXor => write!(f, "{src} = atomic{width}_fetch_xor({memory}, {src})"),
        AtomicOp::Exchange => write!(f, "{src} = atomic{width}_xchg({memory}, {src})"),
        AtomicOp::CompareExchange => write!(f, "r0 = atomic{width}_cmpxchg({memory}, r0, {src})"),
    }
}

impl Program {
    /// The whole program as text: each function under its name, each source line above its instructions, and
    /// after every jump the label of its target.
    ///
    /// Instructions look as in the verifier's log, except that maps have their names.
    pub fn listing(&self) -> Listing<'_> {
        Listing { program: self, targets: targets(&self.insns) }
    }
}

/// The text of a [`Program`]; made by [`Program::listing`].
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    program: &'a Program,
    /// The targets of jumps.
    targets: BTreeSet<usize>,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { insns, functions, lines, .. } = self.program;
        let mut functions = functions.iter().peekable();
        let mut lines = lines.entries.iter().peekable();
        let mut index = 0;
        while index < insns.len() {
            while let Some(function) = functions.next_if(|function| function.start <= index) {
                writeln!(f, "{}:", function.name)?;
            }
            if self.targets.contains(&index) {
                writeln!(f, "L{index}:")?;
            }
            while let Some(line) = lines.next_if(|line| line.insn <= index) {
                let file = &self.program.lines.file;
                let separator = if file.is_empty() { "" } else { ":" };
                writeln!(f, "; {file}{separator}{}:{} {}", line.line, line.column, line.text)?;
            }
            index += self.write_insn(f, index)?;
        }
        Ok(())
    }
}

impl Listing<'_> {
    /// Writes one instruction and returns how many it takes.
    fn write_insn(&self, f: &mut fmt::Formatter<'_>, index: usize) -> Result<usize, fmt::Error> {
        let insn = self.program.insns[index];
        write!(f, "{index:4}: ({:02x}) ", insn.opcode)?;
        let Ok(operation) = Operation::at(&self.program.insns, index) else {
            let Insn { opcode, off, imm, .. } = insn;
            writeln!(f, "unknown {opcode:#04x} dst={} src={} off={off} imm={imm}", insn.dst(), insn.src())?;
            return Ok(1);
        };
        match (operation, self.map_at(index)) {
            (Operation::LoadImm64 { dst, .. }, Some(map)) => write!(f, "{dst} = {map}")?,
            _ => write!(f, "{operation}")?,
        }
        if let Some(target) = jump_target(index, operation) {
            write!(f, " <L{target}>")?;
        }
        if let Some(function) = self.function_at(index, operation) {
            write!(f, " <{}>", function.name)?;
        }
        writeln!(f)?;
        Ok(operation.slots())
    }

    /// The map that the instruction at `index` refers to.
    fn map_at(&self, index: usize) -> Option<String> {
        let relocations = &self.program.relocations;
        let relocation =
            &relocations[relocations.binary_search_by_key(&index, |relocation| relocation.insn).ok()?];
        let name = self.program.maps.get(relocation.map).map_or("?", |map| &map.name);
        Some(match relocation.target {
            MapReference::Map => format!("map[{name}]"),
            MapReference::Value(offset) => format!("map[{name}]+{offset}"),
        })
    }

    /// The function that the operation at `index` calls or takes the address of.
    fn function_at(&self, index: usize, operation: Operation) -> Option<&Function> {
        let start = match operation {
            Operation::Call { callee: Callee::Function(off) }
            | Operation::LoadImm64 { imm: Imm64::Function { off }, .. } => destination(index, off)?,
            _ => return None,
        };
        self.program.functions.iter().find(|function| function.start == start)
    }
}

/// The instruction that the operation at `index` jumps to.
fn jump_target(index: usize, operation: Operation) -> Option<usize> {
    match operation {
        Operation::Jump { off, .. } => destination(index, off),
        Operation::JumpIf { off, .. } | Operation::MayGoto { off } => destination(index, i32::from(off)),
        _ => None,
    }
}

fn destination(index: usize, off: i32) -> Option<usize> {
    (index + 1).checked_add_signed(off as isize)
}

fn targets(insns: &[Insn]) -> BTreeSet<usize> {
    let mut targets = BTreeSet::new();
    let mut index = 0;
    while index < insns.len() {
        let operation = Operation::at(insns, index);
        index += operation.as_ref().map_or(1, |operation| {
            targets.extend(jump_target(index, *operation));
            operation.slots()
        });
    }
    targets
}

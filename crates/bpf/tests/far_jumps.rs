//! Assembled code does what was written, however far its jumps go: random programs are run both as they were
//! written and as they were assembled, and have to leave the same trace.

use knobgate_bpf::{
    AluOp, AsmError, Assembler, Callee, Code, Cond, Insn, MapReference, Operand, Operation, Reg, Width,
};
use proptest::prelude::*;

/// Something written into an assembler. Everything but filler is preceded by one step. Jumps name the item
/// that they go to.
#[derive(Debug, Clone)]
enum Item {
    /// This many steps.
    Fill(usize),
    Jump(usize),
    JumpIf(Width, Cond, i32, usize),
    MayGoto(usize),
    LoadMap,
    Call(usize),
}

type Written = Vec<Vec<Item>>;

/// A step changes the state by a number, so that the trace shows which steps were taken, and in which order.
fn step(state: u64, number: i32) -> u64 {
    state.wrapping_mul(0x5851_f42d).wrapping_add(number as i64 as u64)
}

const STATE: Reg = Reg::R6;
const FUEL: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OutOfFuel,
    Returned,
}

fn holds(width: Width, cond: Cond, left: u64, right: i32) -> bool {
    let (left, right) = match width {
        Width::W64 => (left as i64, i64::from(right)),
        Width::W32 => (i64::from(left as i32), i64::from(right)),
    };
    // Extending both to 64 bits by their sign keeps the order of unsigned 32-bit numbers, too.
    let (unsigned_left, unsigned_right) = (left as u64, right as u64);
    match cond {
        Cond::Eq => left == right,
        Cond::Ne => left != right,
        Cond::Gt => unsigned_left > unsigned_right,
        Cond::Ge => unsigned_left >= unsigned_right,
        Cond::Lt => unsigned_left < unsigned_right,
        Cond::Le => unsigned_left <= unsigned_right,
        Cond::SGt => left > right,
        Cond::SGe => left >= right,
        Cond::SLt => left < right,
        Cond::SLe => left <= right,
        Cond::Set => left & right != 0,
    }
}

/// `may_goto` jumps by the kernel's whim; here by the state.
fn may_goto_jumps(state: u64) -> bool {
    state & 4 != 0
}

/// Runs a function as it was written. Steps are numbered through the whole program.
fn run_written(items: &[Item], first_step: usize) -> (u64, End) {
    let mut numbers = Vec::new();
    let mut number = first_step;
    for item in items {
        numbers.push(number);
        number += if let Item::Fill(count) = item { *count } else { 1 };
    }
    let (mut state, mut fuel, mut at) = (1, FUEL, 0);
    while at < items.len() {
        let count = if let Item::Fill(count) = items[at] { count } else { 1 };
        for number in (numbers[at]..).take(count) {
            if fuel == 0 {
                return (state, End::OutOfFuel);
            }
            fuel -= 1;
            state = step(state, number as i32);
        }
        let jumps_to = match items[at] {
            Item::Jump(to) => Some(to),
            Item::JumpIf(width, cond, right, to) => holds(width, cond, state, right).then_some(to),
            Item::MayGoto(to) => may_goto_jumps(state).then_some(to),
            Item::Call(function) => {
                state = step(state, !(function as i32));
                None
            }
            Item::Fill(_) | Item::LoadMap => None,
        };
        at = jumps_to.unwrap_or(at + 1);
    }
    (state, End::Returned)
}

fn emit_step(asm: &mut Assembler, number: &mut usize) {
    asm.alu(AluOp::Mul, STATE, 0x5851_f42d);
    asm.alu(AluOp::Add, STATE, *number as i32);
    *number += 1;
}

fn assemble(written: &Written, long_jump: bool) -> Result<Code, AsmError> {
    let mut asm = Assembler::new();
    let functions: Vec<_> = written.iter().map(|_| asm.new_label()).collect();
    let mut number = 0;
    for (index, items) in written.iter().enumerate() {
        asm.begin_function(&format!("f{index}"));
        asm.bind(functions[index]);
        let labels: Vec<_> = items.iter().map(|_| asm.new_label()).collect();
        let end = asm.new_label();
        let label_of = |item: usize| labels.get(item).copied().unwrap_or(end);
        for (at, item) in items.iter().enumerate() {
            asm.bind(labels[at]);
            asm.set_line(number as u32 + 1, 1, "step");
            match item {
                Item::Fill(count) => (0..*count).for_each(|_| emit_step(&mut asm, &mut number)),
                _ => emit_step(&mut asm, &mut number),
            }
            match *item {
                Item::Fill(_) => (),
                Item::Jump(to) => asm.jump(label_of(to)),
                Item::JumpIf(Width::W64, cond, right, to) => asm.jump_if(cond, STATE, right, label_of(to)),
                Item::JumpIf(Width::W32, cond, right, to) => asm.jump32_if(cond, STATE, right, label_of(to)),
                Item::MayGoto(to) => asm.may_goto(label_of(to)),
                Item::LoadMap => asm.load_map_value(Reg::R1, number, 8),
                Item::Call(function) => asm.call(functions[function]),
            }
        }
        asm.bind(end);
        asm.exit();
    }
    asm.finish(long_jump)
}

/// Runs a function of assembled code.
fn run_assembled(code: &Code, function: usize) -> (u64, End) {
    let (mut state, mut fuel, mut at) = (1_u64, FUEL, code.functions[function].start as i64);
    loop {
        let operation = Operation::at(&code.insns, at as usize).expect("an instruction");
        at += operation.slots() as i64;
        match operation {
            Operation::Alu { width: Width::W64, op: AluOp::Mul, dst: STATE, operand: Operand::Imm(imm) } => {
                if fuel == 0 {
                    return (state, End::OutOfFuel);
                }
                fuel -= 1;
                state = state.wrapping_mul(imm as i64 as u64);
            }
            Operation::Alu { width: Width::W64, op: AluOp::Add, dst: STATE, operand: Operand::Imm(imm) } => {
                state = state.wrapping_add(imm as i64 as u64);
            }
            Operation::Jump { off, .. } => at += i64::from(off),
            Operation::JumpIf { width, cond, dst: STATE, operand: Operand::Imm(imm), off } => {
                if holds(width, cond, state, imm) {
                    at += i64::from(off);
                }
            }
            Operation::MayGoto { off } if may_goto_jumps(state) => at += i64::from(off),
            Operation::MayGoto { .. } | Operation::LoadImm64 { .. } => (),
            Operation::Call { callee: Callee::Function(off) } => {
                let start = (at + i64::from(off)) as usize;
                let callee = code.functions.iter().position(|function| function.start == start);
                state = step(state, !(callee.expect("a function starts there") as i32));
            }
            Operation::Exit => return (state, End::Returned),
            other => panic!("{other:?} was never written"),
        }
    }
}

/// Everything that points into the code has to point where it did when it was written.
fn check_tables(code: &Code) {
    assert!(code.relocations.is_sorted_by_key(|relocation| relocation.insn));
    assert!(code.lines.is_sorted_by(|a, b| a.insn < b.insn));
    assert_eq!(code.functions[0].start, 0);
    // An island may be between the two instructions of a step.
    let step_number = |mut insns: std::ops::Range<usize>, backwards: bool| {
        let is_step = |insn: &usize| match Operation::at(&code.insns, *insn) {
            Ok(Operation::Alu { op: AluOp::Add, operand: Operand::Imm(number), .. }) => Some(number as usize),
            _ => None,
        };
        if backwards {
            insns.rev().find_map(|insn| is_step(&insn))
        } else {
            insns.find_map(|insn| is_step(&insn))
        }
    };
    for relocation in &code.relocations {
        assert!(code.insns[relocation.insn].is_load_imm64());
        assert_eq!(relocation.target, MapReference::Value(8));
        assert_eq!(step_number(0..relocation.insn, true), Some(relocation.map - 1));
    }
    for line in &code.lines {
        assert_eq!(step_number(line.insn..code.insns.len(), false), Some(line.line as usize - 1));
    }
}

fn check(written: &Written) -> Result<(), TestCaseError> {
    let long = assemble(written, true).expect("long jumps go anywhere");
    let islands = assemble(written, false).expect("there are few jumps");
    let is_long = |insn: &Insn| insn.opcode == Insn::jump_long(0).opcode;
    prop_assert!(!islands.insns.iter().any(is_long));
    let mut first_step = 0;
    for (index, items) in written.iter().enumerate() {
        let expected = run_written(items, first_step);
        prop_assert_eq!(run_assembled(&long, index), expected);
        prop_assert_eq!(run_assembled(&islands, index), expected);
        first_step +=
            items.iter().map(|item| if let Item::Fill(count) = item { *count } else { 1 }).sum::<usize>();
    }
    check_tables(&long);
    check_tables(&islands);
    Ok(())
}

fn item(functions: usize, items: usize, fill: usize) -> impl Strategy<Value = Item> {
    let width = prop_oneof![Just(Width::W32), Just(Width::W64)];
    let right = prop_oneof![any::<i32>(), -2..3_i32];
    prop_oneof![
        3 => (1..fill).prop_map(Item::Fill),
        1 => (0..=items).prop_map(Item::Jump),
        3 => (width, proptest::sample::select(&Cond::ALL[..]), right, 0..=items)
            .prop_map(|(width, cond, right, to)| Item::JumpIf(width, cond, right, to)),
        1 => (0..=items).prop_map(Item::MayGoto),
        1 => Just(Item::LoadMap),
        1 => (0..functions).prop_map(Item::Call),
    ]
}

fn program(fill: usize) -> impl Strategy<Value = Written> {
    (1..4_usize, 1..24_usize).prop_flat_map(move |(functions, items)| {
        let function = prop::collection::vec(item(functions, items, fill), items);
        prop::collection::vec(function, functions)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn near_jumps_keep_the_meaning(written in program(50)) {
        check(&written)?;
    }

    #[test]
    fn far_jumps_keep_the_meaning(written in program(9_000)) {
        check(&written)?;
    }

    /// Around the end of the reach every instruction that is put in matters.
    #[test]
    fn jumps_at_the_edge_of_the_reach_keep_the_meaning(
        distance in 16_375..16_390_usize,
        jumps in prop::collection::vec((proptest::sample::select(&Cond::ALL[..]), any::<i32>()), 1..20),
        back in any::<bool>(),
    ) {
        let mut items: Vec<_> = jumps
            .iter()
            .map(|(cond, right)| Item::JumpIf(Width::W64, *cond, *right, jumps.len() + 1))
            .collect();
        items.push(Item::Fill(distance - jumps.len()));
        if back {
            items.extend(jumps.iter().map(|(cond, right)| Item::JumpIf(Width::W64, *cond, *right, 1)));
        }
        check(&vec![items])?;
    }
}

#[test]
fn hundreds_of_thousands_of_instructions_are_assembled_in_no_time() {
    let items = (0..50_000).map(|index| match index % 4 {
        0 => Item::JumpIf(Width::W64, Cond::Eq, index, 49_999 - index as usize % 30),
        1 => Item::JumpIf(Width::W32, Cond::Set, index, index as usize / 2),
        2 => Item::Fill(10),
        _ => Item::Jump(index as usize + 1 + index as usize % 9),
    });
    check(&vec![items.collect()]).unwrap();
}

/// Jumps from the start of a program to as many places at its end.
fn crossing_jumps(count: usize) -> Written {
    let to_end = (0..count).map(|index| Item::JumpIf(Width::W64, Cond::Eq, index as i32, count + 1 + index));
    let places = (0..count).map(|_| Item::Fill(1));
    vec![to_end.chain([Item::Fill(50_000)]).chain(places).collect()]
}

#[test]
fn thousands_of_jumps_cross_the_same_place() {
    for count in [10, 1_000, 5_000, 10_000] {
        check(&crossing_jumps(count)).unwrap();
    }
}

#[test]
fn more_jumps_than_islands_can_carry_are_an_error_unless_long_jumps_are_allowed() {
    let written = crossing_jumps(20_000);
    assert_eq!(assemble(&written, false), Err(AsmError::TooManyFarJumps { function: "f0".into() }));
    assert!(assemble(&written, true).is_ok());
}

#[test]
fn an_island_is_not_led_over_where_nothing_falls_into_it() {
    let mut asm = Assembler::new();
    let end = asm.new_label();
    asm.jump_if(Cond::Eq, Reg::R1, 0, end);
    for _ in 0..20_000 {
        asm.mov(Reg::R0, 1);
        asm.exit();
    }
    asm.bind(end);
    asm.exit();
    let written = asm.position();
    let code = asm.finish(false).unwrap();
    assert_eq!(code.insns.len(), written + 1, "one jump of one island is all that is needed");
}

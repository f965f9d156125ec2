//! The functions that a compiled program calls. Each is emitted once, and only if something calls it.
//!
//! They are unrolled, with every offset a constant: kernels before 5.12 let no program read or write its stack at an
//! offset that is computed, except through helpers.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Features, Label, Size, helper_ids as helper};
use knobgate_policy::limits::{ELEMENTS_MAX, NAME_MAX, NUMBERS_END_MAX, VALUE_MAX};
use knobgate_policy::{SHORT_DIGITS, Value, Width};

use crate::context;
use crate::frame::{self, Numbers, VALUE_BYTES};
use crate::program;
use crate::shape;
use crate::short_number;
use crate::table::Placed;
use crate::tables::Tables;

/// The functions, by label; those that were called are emitted by [`Routines::emit`].
#[derive(Debug, Default)]
pub(crate) struct Routines {
    run_table: Option<Label>,
    fetch_new: Option<Label>,
    fetch_old: Option<Label>,
    pad: Option<Label>,
    append_number: Option<Label>,
    is_among: Option<Label>,
    /// Where the automaton lies that finds the shape of a value.
    shape: Option<Placed>,
    /// How many instructions the verifier walks through in them: all of them again for every call.
    steps: usize,
    pads_constants: bool,
}

/// The instructions that the verifier walks through in a function, as counted by it; how often it comes by there makes
/// this a guess.
mod steps {
    /// To fetch a value, without running the table.
    pub(super) const FETCH: usize = 1_000;
    /// To run a table over one byte.
    pub(super) const TABLE_BYTE: usize = 10;
    /// To pad a replacement, with what comes behind: the verifier follows it with all that the buffers may hold.
    pub(super) const PAD: usize = 7_000;
    /// What it has more to do there if a replacement is made of constants, which it tracks byte by byte.
    pub(super) const PAD_CONSTANTS: usize = 3_000;
    /// To halve what is searched.
    pub(super) const SEARCH: usize = 30;
    /// To spell a number.
    pub(super) const APPEND_NUMBER: usize = 900;
}

/// Where the function that fetches the new value keeps the least number that it takes for one, on its stack.
const LEAST: i16 = -8;
/// The same of the greatest one.
const GREATEST: i16 = -16;
const _: () = assert!(short_number::DIGITS as u32 <= SHORT_DIGITS);

/// How many bytes `bpf_strtoul` is shown. Of every number that ends too late it has to see that it does: one byte more than
/// may be read would do, were it not for a `0x` at the end, of which it takes the `0` alone. So many bytes behind the
/// previous number are still inside the buffer.
const STRTOUL_BYTES: i32 = NUMBERS_END_MAX as i32 + 2;
const _: () = assert!(NUMBERS_END_MAX as i16 + STRTOUL_BYTES as i16 <= VALUE_BYTES);

impl Routines {
    /// None called yet. `shape` is where the [automaton](shape) for values lies, if values are fetched.
    pub(crate) fn new(shape: Option<Placed>) -> Self {
        Self { shape, ..Self::default() }
    }

    /// About how many instructions the verifier walks through in what was called.
    pub(crate) fn verifier_steps(&self) -> usize {
        self.steps + if self.pads_constants { steps::PAD_CONSTANTS } else { 0 }
    }

    /// Notes that what is padded may be made of constants.
    pub(crate) fn will_pad_constants(&mut self) {
        self.pads_constants = true;
    }

    /// Calls the function that runs a table: R1 subject, R2 its length (at most `most`), R3 where its classes are, R4
    /// the state to start in. Returns the output in R0.
    pub(crate) fn call_run_table(&mut self, asm: &mut Assembler, most: usize) {
        self.steps += steps::TABLE_BYTE * most;
        call(asm, &mut self.run_table);
    }

    /// Calls the function that fetches `value` and finds its shape and numbers: R1 context, R2 frame pointer of
    /// the main function. What it finds it leaves on the main function's stack. A new value with a number beyond `width` is
    /// text to it.
    pub(crate) fn call_fetch(&mut self, asm: &mut Assembler, value: Value, width: Width) {
        self.steps += steps::FETCH + steps::TABLE_BYTE * VALUE_MAX;
        if value == Value::New {
            let (low, high) = width.bounds();
            asm.load_imm64(R3, low.low_bits());
            asm.load_imm64(R4, high.low_bits());
        }
        call(
            asm,
            match value {
                Value::New => &mut self.fetch_new,
                Value::Old => &mut self.fetch_old,
            },
        );
    }

    /// Calls the function that pads a replacement: R1 its buffer of `VALUE_BYTES`, in which its text ends at the
    /// first newline or NUL; R2 the length to which it is padded with newlines, at most `VALUE_MAX`; R3 the NUL that is put
    /// behind them. Returns in R0 whether it fits.
    pub(crate) fn call_pad(&mut self, asm: &mut Assembler) {
        self.steps += steps::PAD;
        call(asm, &mut self.pad);
    }

    /// Calls the function that spells a number in decimal: R1 where to, on the main function's stack; R2 its low 64
    /// bits; R3 not 0 if it is negative. Returns in R0 how many bytes it took, at most 20.
    pub(crate) fn call_append_number(&mut self, asm: &mut Assembler) {
        self.steps += steps::APPEND_NUMBER;
        call(asm, &mut self.append_number);
    }

    /// Calls the function that looks for a word among those that lie in the tables in ascending order: R1 the word, R2 where
    /// they lie, R3 how many they are: 2 to the power of it. Returns in R0 whether it is there.
    pub(crate) fn call_is_among(&mut self, asm: &mut Assembler, tables: &Tables) {
        self.steps += steps::SEARCH * (tables.longest_search as usize + 1);
        call(asm, &mut self.is_among);
    }

    /// Emits all that were called.
    pub(crate) fn emit(mut self, asm: &mut Assembler, tables: &Tables, features: &Features) {
        for value in [Value::New, Value::Old] {
            let (label, name) = match value {
                Value::New => (self.fetch_new, "fetch_new"),
                Value::Old => (self.fetch_old, "fetch_old"),
            };
            if let Some(label) = label {
                begin(asm, name, label);
                self.emit_fetch(asm, features, value);
            }
        }
        if let Some(label) = self.pad {
            begin(asm, "pad", label);
            emit_pad(asm);
        }
        if let Some(label) = self.append_number {
            begin(asm, "append_number", label);
            emit_append_number(asm);
        }
        if let Some(label) = self.is_among {
            begin(asm, "is_among", label);
            emit_is_among(asm, tables);
        }
        if let Some(label) = self.run_table {
            begin(asm, "run_table", label);
            emit_run_table(asm, tables);
        }
    }

    fn emit_fetch(&mut self, asm: &mut Assembler, features: &Features, value: Value) {
        let (buffer, numbers) = (i32::from(frame::buffer(value)), Numbers::of(value));
        let unavailable = asm.new_label();
        asm.mov(R6, R1);
        asm.mov(R7, R2);
        if value == Value::New {
            asm.store(Size::U64, R10, LEAST, R3);
            asm.store(Size::U64, R10, GREATEST, R4);
        }
        if !features.uninit_stack {
            // All of it. A text has no signs, and nobody looks at them; but the verifier does not know that, follows that way
            // as well, and on 5.15 rejects the program. From a register: before 6.3 the verifier does not know what `BPF_ST`
            // stores, not even of a zero (`check_stack_write_fixed_off`, kernel/bpf/verifier.c).
            asm.mov(R1, 0);
            for offset in numbers.all().step_by(8) {
                asm.store(Size::U64, R7, offset, R1);
            }
        }
        asm.mov(R1, R6);
        asm.mov(R2, R7);
        asm.alu(AluOp::Add, R2, buffer);
        asm.mov(R3, i32::from(VALUE_BYTES));
        asm.call_helper(match value {
            Value::New => helper::SYSCTL_GET_NEW_VALUE,
            Value::Old => helper::SYSCTL_GET_CURRENT_VALUE,
        });
        asm.jump_if(Cond::Eq, R0, 0, unavailable);
        // A negative errno is a large number.
        asm.jump_if(Cond::Gt, R0, VALUE_MAX as i32, unavailable);
        if value == Value::New {
            // What is written elsewhere does not say what the knob will hold.
            asm.load(Size::U32, R1, R6, context::FILE_POS);
            asm.jump_if(Cond::Ne, R1, 0, unavailable);
        }
        asm.store(Size::U8, R7, numbers.length(), R0);

        // The verifier goes this way first: what it stores is less known, so that it need not go on from the other.
        let (short, longer) = (asm.new_label(), asm.new_label());
        asm.jump_if(Cond::Le, R0, short_number::BYTES_MAX, short);
        asm.jump(longer);
        asm.bind(short);
        short_number::emit(asm, buffer as i16, longer);
        asm.store(Size::U64, R7, numbers.element(0), R1);
        asm.store_imm(Size::U8, R7, numbers.signs(), 0);
        asm.store_imm(Size::U8, R7, numbers.shape(), 1);
        asm.mov(R0, 0);
        asm.exit();
        asm.bind(longer);

        asm.mov(R1, R7);
        asm.alu(AluOp::Add, R1, buffer);
        asm.mov(R2, R0);
        let shape = self.shape.expect("placed where values are fetched");
        asm.mov(R3, shape.classes as i32);
        asm.mov(R4, shape.start as i32);
        call(asm, &mut self.run_table);
        asm.store(Size::U8, R7, numbers.shape(), R0);
        asm.mov(R8, R0);

        let (done, no_numbers) = (asm.new_label(), asm.new_label());
        asm.jump_if(Cond::Gt, R8, ELEMENTS_MAX as i32, done);
        asm.store_imm(Size::U8, R7, numbers.signs(), 0);
        asm.mov(R9, 0);
        for index in 0..ELEMENTS_MAX {
            let (read, unsigned, nonnegative) = (asm.new_label(), asm.new_label(), asm.new_label());
            asm.jump_if(Cond::Le, R8, index as i32, done);
            let parse = |asm: &mut Assembler, parser| {
                asm.mov(R1, R7);
                asm.alu(AluOp::Add, R1, buffer);
                asm.alu(AluOp::Add, R1, R9);
                asm.mov(R2, STRTOUL_BYTES);
                asm.mov(R3, 0);
                asm.mov(R4, R7);
                asm.alu(AluOp::Add, R4, i32::from(numbers.element(index)));
                asm.call_helper(parser);
            };
            // Digits are certain, so that it fails for two reasons: a sign, or more than 64 bits.
            parse(asm, helper::STRTOUL);
            asm.jump_if(Cond::SGt, R0, 0, unsigned);
            parse(asm, helper::STRTOL);
            asm.jump_if(Cond::SLe, R0, 0, no_numbers);
            asm.load(Size::U64, R1, R7, numbers.element(index));
            asm.jump_if(Cond::SGe, R1, 0, nonnegative);
            asm.load(Size::U8, R1, R7, numbers.signs());
            asm.alu(AluOp::Or, R1, 1 << index);
            asm.store(Size::U8, R7, numbers.signs(), R1);
            if value == Value::New {
                asm.load(Size::U64, R1, R7, numbers.element(index));
                asm.load(Size::U64, R2, R10, LEAST);
                asm.jump_if(Cond::SLt, R1, R2, no_numbers);
            }
            asm.bind(nonnegative);
            asm.jump(read);
            asm.bind(unsigned);
            if value == Value::New {
                asm.load(Size::U64, R1, R7, numbers.element(index));
                asm.load(Size::U64, R2, R10, GREATEST);
                asm.jump_if(Cond::Gt, R1, R2, no_numbers);
            }
            asm.bind(read);
            asm.alu(AluOp::Add, R9, R0);
            asm.jump_if(Cond::Gt, R9, NUMBERS_END_MAX as i32, no_numbers);
        }
        asm.bind(done);
        asm.mov(R0, 0);
        asm.exit();
        for (label, shape) in [(no_numbers, shape::TEXT), (unavailable, shape::UNAVAILABLE)] {
            asm.bind(label);
            asm.store_imm(Size::U8, R7, numbers.shape(), shape as i32);
            asm.mov(R0, 0);
            asm.exit();
        }
    }
}

fn call(asm: &mut Assembler, routine: &mut Option<Label>) {
    let label = *routine.get_or_insert_with(|| asm.new_label());
    asm.call(label);
}

fn begin(asm: &mut Assembler, name: &str, label: Label) {
    asm.begin_function(name);
    asm.bind(label);
}

fn emit_run_table(asm: &mut Assembler, tables: &Tables) {
    let done = asm.new_label();
    asm.load_map_value(R5, program::TABLES, 0);
    asm.alu(AluOp::And, R3, tables.byte_mask() as i32);
    asm.alu(AluOp::Add, R3, R5);
    // Here and below: the state is masked, which proves to the verifier that it lies in the tables.
    let entry = |asm: &mut Assembler, into, offset| {
        asm.alu(AluOp::And, R4, tables.entry_mask() as i32);
        asm.mov(R0, R4);
        asm.alu(AluOp::Lsh, R0, 2);
        asm.alu(AluOp::Add, R0, R5);
        asm.load(Size::U32, into, R0, offset);
    };
    for i in 0..NAME_MAX as i16 {
        asm.jump_if(Cond::Le, R2, i32::from(i), done);
        asm.load(Size::U8, R0, R1, i);
        asm.alu(AluOp::Add, R0, R3);
        asm.load(Size::U8, R0, R0, 0);
        asm.alu(AluOp::Add, R4, R0);
        entry(asm, R4, 4);
    }
    asm.bind(done);
    entry(asm, R0, 0);
    asm.exit();
}

/// A search that halves what is left. In R4 is how many are less for certain.
fn emit_is_among(asm: &mut Assembler, tables: &Tables) {
    const FORGET: i16 = -4;
    let word = |asm: &mut Assembler| {
        asm.alu(AluOp::Lsh, R0, 3);
        asm.alu(AluOp::Add, R0, R2);
        // Which proves to the verifier that it lies in the tables.
        asm.alu(AluOp::And, R0, tables.row_mask() as i32);
        asm.alu(AluOp::Add, R0, R5);
        asm.load(Size::U64, R0, R0, 0);
    };
    asm.load_map_value(R5, program::TABLES, 0);
    asm.mov(R4, 0);
    for step in (0..tables.longest_search).rev() {
        let next = asm.new_label();
        asm.jump_if(Cond::Le, R3, step as i32, next);
        asm.mov(R0, R4);
        asm.alu(AluOp::Add, R0, (1 << step) - 1);
        word(asm);
        asm.jump_if(Cond::Ge, R0, R1, next);
        asm.alu(AluOp::Add, R4, 1 << step);
        asm.bind(next);
        // The verifier would follow every number that this can come to. It does not track stores there.
        asm.store(Size::U32, R10, FORGET, R4);
        asm.load(Size::U32, R4, R10, FORGET);
    }
    let found = asm.new_label();
    asm.mov(R0, R4);
    word(asm);
    asm.jump_if(Cond::Eq, R0, R1, found);
    asm.mov(R0, 0);
    asm.exit();
    asm.bind(found);
    asm.mov(R0, 1);
    asm.exit();
}

fn emit_pad(asm: &mut Assembler) {
    const LAST: usize = VALUE_MAX;
    let does_not_fit = asm.new_label();
    let fill: Vec<Label> = (0..=LAST).map(|_| asm.new_label()).collect();
    for (i, &fill) in fill.iter().enumerate() {
        asm.load(Size::U8, R4, R1, i as i16);
        asm.jump_if(Cond::Eq, R4, 0, fill);
        asm.jump_if(Cond::Eq, R4, i32::from(b'\n'), fill);
        asm.jump_if(Cond::Le, R2, i as i32, does_not_fit);
    }
    asm.bind(does_not_fit);
    asm.mov(R0, 0);
    asm.exit();
    for (i, &fill) in fill.iter().enumerate() {
        let next = asm.new_label();
        asm.bind(fill);
        if i < LAST {
            asm.jump_if(Cond::Gt, R2, i as i32, next);
        }
        asm.store(Size::U8, R1, i as i16, R3);
        asm.mov(R0, 1);
        asm.exit();
        asm.bind(next);
        if i < LAST {
            asm.store_imm(Size::U8, R1, i as i16, i32::from(b'\n'));
        }
    }
}

fn emit_append_number(asm: &mut Assembler) {
    const DIGITS: i16 = 20;
    let digit = |i: i16| i - 24;
    let positive = asm.new_label();
    let put: Vec<Label> = (0..DIGITS).map(|_| asm.new_label()).collect();
    asm.mov(R5, R1);
    asm.jump_if(Cond::Eq, R3, 0, positive);
    asm.store_imm(Size::U8, R1, 0, i32::from(b'-'));
    asm.alu(AluOp::Add, R1, 1);
    asm.neg(R2);
    asm.bind(positive);
    for i in (0..DIGITS).rev() {
        asm.mov(R4, R2);
        asm.alu(AluOp::Mod, R4, 10);
        asm.alu(AluOp::Add, R4, i32::from(b'0'));
        asm.store(Size::U8, R10, digit(i), R4);
        asm.alu(AluOp::Div, R2, 10);
    }
    for i in 0..DIGITS - 1 {
        asm.load(Size::U8, R4, R10, digit(i));
        asm.jump_if(Cond::Ne, R4, i32::from(b'0'), put[usize::from(i as u16)]);
    }
    asm.jump(put[usize::from(DIGITS as u16 - 1)]);
    for i in 0..DIGITS {
        asm.bind(put[usize::from(i as u16)]);
        asm.load(Size::U8, R4, R10, digit(i));
        asm.store(Size::U8, R1, 0, R4);
        asm.alu(AluOp::Add, R1, 1);
    }
    asm.mov(R0, R1);
    asm.alu(AluOp::Sub, R0, R5);
    asm.exit();
}

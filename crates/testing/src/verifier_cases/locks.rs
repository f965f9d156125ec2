//! Spin locks in the values of maps.

use knobgate_bpf::helper_ids::{
    GET_CURRENT_COMM, JIFFIES64, LOOP, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, SPIN_LOCK, SPIN_UNLOCK,
};
use knobgate_bpf::{AluOp, Assembler, Cond, Object, Reg, Size};

use super::{R0, R1, R2, R3, R4, R6, R10, VALUE, VerifierCase, allow, maps};

const R7: Reg = Reg::R7;

/// An array of one value with a lock, a hash of such values, and an array of numbers: maps of examples/objects/locks.bpf.c.
/// Values have eight bytes before and twelve after their lock.
const ONE: usize = 9;
const HASH: usize = 10;
const WITHOUT: usize = 11;
const LOCK: u32 = 8;

fn case(
    name: &'static str,
    rejected: Option<&'static str>,
    write: impl FnOnce(&mut Assembler),
) -> VerifierCase {
    let object = include_bytes!("../../../../examples/objects/locks.bpf.o");
    let object = Object::read(object).and_then(|object| object.program(None)).expect("a program");
    let with_types = |name| object.maps.iter().find(|map| map.name == name).expect("a map").clone();
    let mut case = super::case(name, rejected, write);
    case.program.maps = maps();
    case.program.maps.extend([with_types("counters"), with_types("by_kind"), with_types("without_lock")]);
    case.program.maps[ONE].max_entries = 1;
    case
}

/// Calls a helper with an address in the value of the array.
fn at_value(asm: &mut Assembler, helper: u32, offset: u32) {
    asm.load_map_value(R1, ONE, offset);
    asm.call_helper(helper);
}

/// Calls a helper with the lock of the value to which `value` points.
fn of(asm: &mut Assembler, helper: u32, value: Reg) {
    asm.mov(R1, value);
    asm.alu(AluOp::Add, R1, LOCK as i32);
    asm.call_helper(helper);
}

/// `value` = a value of the hash that exists.
fn look_up(asm: &mut Assembler, value: Reg) {
    look_up_in(asm, HASH, 1, value);
}

/// `value` = the value of this key, which exists.
fn look_up_in(asm: &mut Assembler, map: usize, key: i32, value: Reg) {
    asm.store_imm(Size::U32, R10, -4, key);
    asm.load_map(R1, map);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, -4);
    asm.call_helper(MAP_LOOKUP_ELEM);
    let found = asm.new_label();
    asm.jump_if(Cond::Ne, R0, 0, found);
    asm.exit();
    asm.bind(found);
    asm.mov(value, R0);
}

const NO_CALLS: &str = "function calls are not allowed while holding a lock";
const NO_ACCESS: &str = "bpf_spin_lock cannot be accessed directly by load/store";
const NOT_HELD: &str = "bpf_spin_unlock without taking a lock";
const EXIT: &str = "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region";

/// Which locks are taken and released.
pub(super) fn locks() -> Vec<VerifierCase> {
    let wrong = |name, rejected, map, offset| {
        case(name, Some(rejected), |asm| {
            asm.load_map_value(R1, map, offset);
            asm.call_helper(SPIN_LOCK);
            allow(asm);
        })
    };
    vec![
        case("a value is locked", None, |asm| {
            look_up(asm, R6);
            of(asm, SPIN_LOCK, R6);
            asm.store_imm(Size::U64, R6, 0, 7);
            of(asm, SPIN_UNLOCK, R6);
            of(asm, SPIN_LOCK, R6);
            of(asm, SPIN_UNLOCK, R6);
            allow(asm);
        }),
        case("the only value of a map is locked", None, |asm| {
            at_value(asm, SPIN_LOCK, LOCK);
            at_value(asm, SPIN_UNLOCK, LOCK);
            allow(asm);
        }),
        case("another value is unlocked", Some("bpf_spin_unlock of different lock"), |asm| {
            look_up(asm, R6);
            look_up(asm, R7);
            of(asm, SPIN_LOCK, R6);
            of(asm, SPIN_UNLOCK, R7);
            allow(asm);
        }),
        case("a value of another map is unlocked", Some("bpf_spin_unlock of different lock"), |asm| {
            look_up(asm, R6);
            of(asm, SPIN_LOCK, R6);
            at_value(asm, SPIN_UNLOCK, LOCK);
            allow(asm);
        }),
        case("what is not locked is unlocked", Some(NOT_HELD), |asm| {
            at_value(asm, SPIN_UNLOCK, LOCK);
            allow(asm);
        }),
        case("a value is locked on one path", Some(NOT_HELD), |asm| {
            let over = asm.new_label();
            asm.load(Size::U32, R6, R1, 4);
            look_up(asm, R7);
            asm.jump_if(Cond::Eq, R6, 0, over);
            of(asm, SPIN_LOCK, R7);
            asm.bind(over);
            of(asm, SPIN_UNLOCK, R7);
            allow(asm);
        }),
        wrong(
            "a lock elsewhere in the value",
            "off 12 doesn't point to 'struct bpf_spin_lock' that is at 8",
            ONE,
            12,
        ),
        wrong(
            "a lock in a map without types",
            "map 'value' has to have BTF in order to use bpf_spin_lock",
            VALUE,
            0,
        ),
        wrong("a lock in a map without one", "map 'without_lock' has no valid bpf_spin_lock", WITHOUT, 0),
        case(
            "a lock that is somewhere",
            Some("R1 doesn't have constant offset. bpf_spin_lock has to be at the constant offset"),
            |asm| {
                asm.load(Size::U32, R6, R1, 4);
                asm.alu(AluOp::And, R6, 7);
                asm.load_map_value(R1, ONE, 4);
                asm.alu(AluOp::Add, R1, R6);
                asm.call_helper(SPIN_LOCK);
                allow(asm);
            },
        ),
        case("a number is locked", Some("R1 type=scalar expected=map_value, ptr_"), |asm| {
            asm.mov(R1, 8);
            asm.call_helper(SPIN_LOCK);
            allow(asm);
        }),
    ]
}

/// Where values have a lock: the maps of examples/objects/lock_places.bpf.c.
pub(super) fn places() -> Vec<VerifierCase> {
    let object = include_bytes!("../../../../examples/objects/lock_places.bpf.o");
    let object = Object::read(object).and_then(|object| object.program(None)).expect("a program");
    let def = |name| object.maps.iter().find(|map| map.name == name).expect("a map").clone();
    let case = |name, map, rejected, write: &dyn Fn(&mut Assembler)| {
        let mut case = super::case(name, rejected, write);
        case.program.maps = maps();
        case.program.maps.push(def(map));
        case
    };
    let lock = |name, map, offset, rejected| {
        case(name, map, rejected, &|asm| {
            for helper in [SPIN_LOCK, SPIN_UNLOCK] {
                asm.load_map_value(R1, ONE, offset);
                asm.call_helper(helper);
            }
            allow(asm);
        })
    };
    // Not all maps have an address, so their value is looked up.
    let lock_found = |name, map, rejected| {
        case(name, map, Some(rejected), &|asm| {
            look_up_in(asm, ONE, 0, R6);
            asm.mov(R1, R6);
            asm.alu(AluOp::Add, R1, 4);
            asm.call_helper(SPIN_LOCK);
            allow(asm);
        })
    };
    let store = |name, map, rejected| {
        case(name, map, rejected, &|asm| {
            asm.load_map_value(R1, ONE, 0);
            asm.store_imm(Size::U32, R1, 4, 1);
            allow(asm);
        })
    };
    vec![
        lock("a lock that is a member", "member", 4, None),
        lock(
            "a lock that is a typedef",
            "with_typedef",
            4,
            Some("map 'with_typedef' has no valid bpf_spin_lock"),
        ),
        lock("a volatile lock", "with_volatile", 4, Some("map 'with_volatile' has no valid bpf_spin_lock")),
        lock("a lock in a struct", "in_struct", 8, None),
        lock("a lock in a typedef", "in_typedef", 8, Some("map 'in_typedef' has no valid bpf_spin_lock")),
        lock("a lock in a struct without a name", "in_struct_without_name", 4, None),
        lock("a lock in a union", "in_union", 4, Some("map 'in_union' has no valid bpf_spin_lock")),
        lock("two locks", "array_of_two", 4, Some("map 'array_of_two' has no valid bpf_spin_lock")),
        lock("an array of one lock", "array_of_one", 4, None),
        lock(
            "two structs with a lock",
            "in_array_of_two",
            8,
            Some("map 'in_array_of_two' has no valid bpf_spin_lock"),
        ),
        lock("an array of one struct with a lock", "in_array_of_one", 8, None),
        lock_found(
            "a lock in values of each CPU",
            "per_cpu",
            "map 'per_cpu' has to have BTF in order to use bpf_spin_lock",
        ),
        lock(
            "a lock in a map that programs do not write",
            "read_only",
            4,
            Some("map 'read_only' has to have BTF in order to use bpf_spin_lock"),
        ),
        store("a lock that is a member is written", "member", Some(NO_ACCESS)),
        store("what is no lock to the kernel is written", "with_typedef", None),
        store("a lock of an array of two is written", "array_of_two", None),
    ]
}

/// What is done while a lock is held, and to the bytes of locks.
pub(super) fn uses() -> Vec<VerifierCase> {
    let held = |name, rejected, write: fn(&mut Assembler)| {
        case(name, rejected, |asm| {
            look_up(asm, R6);
            of(asm, SPIN_LOCK, R6);
            write(asm);
            of(asm, SPIN_UNLOCK, R6);
            allow(asm);
        })
    };
    let calling = |name, rejected, before: bool, main: fn(&mut Assembler), function: fn(&mut Assembler)| {
        case(name, rejected, |asm| {
            let start = asm.new_label();
            look_up(asm, R6);
            if before {
                of(asm, SPIN_LOCK, R6);
            }
            asm.mov(R1, R6);
            asm.call(start);
            main(asm);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            function(asm);
            allow(asm);
        })
    };
    let looping = |name, rejected, round: fn(&mut Assembler)| {
        case(name, rejected, |asm| {
            let start = asm.new_label();
            look_up(asm, R6);
            asm.mov(R1, 4);
            asm.load_function(R2, start);
            asm.mov(R3, 0);
            asm.mov(R4, 0);
            asm.call_helper(LOOP);
            allow(asm);
            asm.begin_function("round");
            asm.bind(start);
            round(asm);
            asm.mov(R0, 0);
            asm.exit();
        })
    };
    let access = |name, rejected, write: fn(&mut Assembler)| {
        case(name, rejected, |asm| {
            asm.load(Size::U32, R7, R1, 4);
            asm.load_map_value(R1, ONE, 0);
            write(asm);
            allow(asm);
        })
    };
    vec![
        held("a helper is called with a lock", Some(NO_CALLS), |asm| asm.call_helper(JIFFIES64)),
        held("a second value is locked", Some(NO_CALLS), |asm| at_value(asm, SPIN_LOCK, LOCK)),
        held("the program ends with a lock", Some(EXIT), |asm| {
            let over = asm.new_label();
            asm.load(Size::U64, R0, R6, 0);
            asm.jump_if(Cond::Ne, R0, 1, over);
            asm.exit();
            asm.bind(over);
        }),
        calling(
            "a function is called with a lock",
            None,
            true,
            |asm| of(asm, SPIN_UNLOCK, R6),
            |asm| {
                asm.store_imm(Size::U64, R1, 0, 1);
            },
        ),
        calling("a function unlocks", None, true, |_| (), |asm| of(asm, SPIN_UNLOCK, R1)),
        calling(
            "a function locks",
            None,
            false,
            |asm| of(asm, SPIN_UNLOCK, R6),
            |asm| of(asm, SPIN_LOCK, R1),
        ),
        looping("every round locks", None, |asm| {
            at_value(asm, SPIN_LOCK, LOCK);
            at_value(asm, SPIN_UNLOCK, LOCK);
        }),
        looping("every round locks, and none unlocks", Some(NO_CALLS), |asm| {
            at_value(asm, SPIN_LOCK, LOCK);
        }),
        case("a loop locks", None, |asm| {
            look_up(asm, R6);
            asm.mov(R7, 0);
            let again = asm.new_label();
            asm.bind(again);
            of(asm, SPIN_LOCK, R6);
            asm.store(Size::U64, R6, 0, R7);
            of(asm, SPIN_UNLOCK, R6);
            asm.alu(AluOp::Add, R7, 1);
            asm.jump_if(Cond::Lt, R7, 10, again);
            allow(asm);
        }),
        access("a lock is read", Some(NO_ACCESS), |asm| asm.load(Size::U8, R2, R1, 11)),
        access("a lock is written", Some(NO_ACCESS), |asm| asm.store_imm(Size::U32, R1, 8, 0)),
        access("beside a lock", None, |asm| {
            asm.store_imm(Size::U64, R1, 0, 0);
            asm.store_imm(Size::U32, R1, 12, 0);
        }),
        access("maybe a lock", Some(NO_ACCESS), |asm| {
            asm.alu(AluOp::And, R7, 1);
            asm.alu(AluOp::Lsh, R7, 3);
            asm.alu(AluOp::Add, R1, R7);
            asm.store_imm(Size::U8, R1, 0, 0);
        }),
        access("a helper writes to a lock", Some(NO_ACCESS), |asm| {
            asm.mov(R2, 16);
            asm.call_helper(GET_CURRENT_COMM);
        }),
        access("a helper copies a lock", Some(NO_ACCESS), |asm| {
            asm.mov(R3, R1);
            asm.load_map(R1, HASH);
            asm.store_imm(Size::U32, R10, -4, 1);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -4);
            asm.mov(R4, 0);
            asm.call_helper(MAP_UPDATE_ELEM);
        }),
    ]
}

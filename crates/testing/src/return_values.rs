//! Programs with various return values, and whether the verifier accepts them.

use knobgate_bpf::{AluOp, Cond, Insn, Reg, Size, Width};
use knobgate_hook::Profile;

/// The first tested release whose verifier accepts a case.
type Since = (u16, u16);
const ALWAYS: Since = (5, 10);
/// 6.18.44 accepts it, and 6.18.15 does not.
const SOME_6_18: Since = (6, 18);

/// A description, whether this kernel accepts it (`None`: some builds of the release do), and the program.
pub fn cases(profile: &Profile) -> Vec<(&'static str, Option<bool>, Vec<Insn>)> {
    use Cond::{Ge, Gt, Le, Lt, SGt, SLt};
    use Width::{W32, W64};
    let mov = |register, value: i32| Insn::mov(W64, register, value);
    let (r0, r1, r2, r3, r10) = (Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R10);
    let unknown = Insn::load(Size::U32, r0, r1, 4);
    let other = Insn::load(Size::U32, r2, r1, 4);
    let taken: [(&'static str, Since, Vec<Insn>); 9] = [
        (
            "what one comparison leaves open the same one closes",
            ALWAYS,
            vec![
                unknown,
                other,
                Insn::jump_if(W64, Gt, r2, 7, 1),
                mov(r0, 1),
                Insn::jump_if(W64, Le, r2, 7, 1),
                mov(r0, 0),
            ],
        ),
        (
            "signed bounds on both sides",
            ALWAYS,
            vec![
                unknown,
                Insn::neg(W64, r0),
                Insn::jump_if(W64, SGt, r0, 1, 2),
                Insn::jump_if(W64, SLt, r0, 0, 1),
                Insn::jump(1),
                mov(r0, 0),
            ],
        ),
        (
            "bounds of the lower half",
            ALWAYS,
            vec![unknown, Insn::jump_if(W32, Gt, r0, 1, 1), Insn::jump(1), mov(r0, 0)],
        ),
        (
            "a copy is bounded with its original",
            ALWAYS,
            vec![unknown, Insn::mov(W64, r2, r0), Insn::jump_if(W64, Le, r2, 1, 1), mov(r0, 0)],
        ),
        (
            "a copy that something was added to, too",
            (6, 12),
            vec![
                unknown,
                Insn::mov(W64, r2, r0),
                Insn::alu(W64, AluOp::Add, r2, 5),
                Insn::jump_if(W64, Lt, r2, 7, 1),
                mov(r0, 0),
            ],
        ),
        (
            "a copy on the stack, too",
            (6, 12),
            vec![
                unknown,
                Insn::store(Size::U32, r10, -8, r0),
                Insn::jump_if(W64, Ge, r0, 2, 2),
                Insn::load(Size::U32, r0, r10, -8),
                Insn::jump(1),
                mov(r0, 1),
            ],
        ),
        (
            "bits that are known",
            ALWAYS,
            vec![
                unknown,
                Insn::alu(W64, AluOp::Mul, r0, 2),
                Insn::alu(W64, AluOp::And, r0, 3),
                Insn::alu(W64, AluOp::Rsh, r0, 1),
            ],
        ),
        (
            "an odd number up to 2 is 1",
            SOME_6_18,
            vec![
                unknown,
                Insn::mov(W64, r3, r0),
                Insn::alu(W64, AluOp::Or, r0, 1),
                Insn::jump_if(W64, Le, r0, 2, 1),
                mov(r0, 0),
            ],
        ),
        (
            "what is 0 or 1 stays so when it is turned around",
            ALWAYS,
            vec![unknown, Insn::jump_if(W64, Le, r0, 1, 1), mov(r0, 1), Insn::alu(W32, AluOp::Xor, r0, 1)],
        ),
    ];
    let followed = ("a remainder", vec![unknown, Insn::alu(W64, AluOp::Mod, r0, 2)]);
    let rejected: [(&'static str, Vec<Insn>); 3] = [
        (
            "a signed remainder of a number with either sign has either sign",
            vec![
                unknown,
                Insn::alu(W64, AluOp::And, r0, 127),
                Insn::alu(W64, AluOp::Sub, r0, 1),
                Insn::alu(W64, AluOp::SMod, r0, 10),
                Insn::alu(W64, AluOp::Add, r0, 1),
                Insn::alu(W64, AluOp::Rsh, r0, 4),
            ],
        ),
        (
            "from 0 to 2",
            vec![
                unknown,
                Insn::alu(W64, AluOp::And, r0, 3),
                Insn::alu(W64, AluOp::Rsh, r0, 1),
                Insn::alu(W64, AluOp::Add, r0, 1),
            ],
        ),
        (
            "bounds of the lower half bound nothing above",
            vec![unknown, Insn::neg(W64, r0), Insn::jump_if(W32, Gt, r0, 1, 1), Insn::jump(1), mov(r0, 0)],
        ),
    ];
    let taken = taken.into_iter().map(|(what, since, insns)| {
        let is_known = since != SOME_6_18 || profile.version != since;
        (what, is_known.then_some(profile.version >= since), insns)
    });
    let rejected = rejected.into_iter().map(|(what, insns)| (what, Some(false), insns));
    let followed = (followed.0, Some(profile.divisions_followed), followed.1);
    let all = taken.chain(rejected).chain([followed]);
    all.map(|(what, is_taken, insns)| (what, is_taken, [insns, vec![Insn::exit()]].concat())).collect()
}

//! The fast path for values that are one short number, on the model of the hook: it agrees with `evaluate`, and with
//! the slow path for other notations of the number.

use knobgate_bpf::Features;
use knobgate_compiler::compile;
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, Profile, RunOptions, Task};
use knobgate_policy::{Access, CheckOptions, KnobName, PolicyFile, Source, Verdict, evaluate, parse};
use proptest::prelude::any;
use proptest::test_runner::TestRunner;

struct Both {
    file: PolicyFile,
    profile: Profile,
    program: LoadedProgram,
}

impl Both {
    fn new(text: &str, features: &Features, profile: &str) -> Self {
        let file = parse(Source::new("short.knob", text), &CheckOptions::default()).expect("valid");
        let profile: Profile = profile.parse().expect("a profile");
        let compiled = compile(&file, features).expect("within the limits");
        let program =
            LoadedProgram::load(compiled.program(), &profile, &LoadOptions::default()).expect("accepted");
        Self { file, profile, program }
    }

    /// Whether `new` may be written over `old`. Checks that both agree.
    fn allow(&self, new: &[u8], old: &[u8]) -> bool {
        let mut access = Access::write(KnobName::parse("vm.x").expect("a name"), new);
        access.old = Some(old.to_vec());
        let expected = evaluate(self.file.policy(), &access).verdict == Verdict::Allow;
        let task = Task::default();
        let mut invocation = Invocation::write("vm/x", old, new, &task, &self.profile);
        let returned = self.program.run(&mut invocation, &mut RunOptions::default()).expect("runs");
        assert_eq!(returned == 1, expected, "{} over {}", new.escape_ascii(), old.escape_ascii());
        expected
    }
}

fn on_old_and_new_kernels(check: impl Fn(&Both)) {
    let text = "policy short\nwidth 64 vm.x\ndefault write deny\nallow write vm.x if new == old\n";
    for (features, profile) in [(Features::BASELINE, "5.10"), (Features::ALL, "7.2")] {
        check(&Both::new(text, &features, profile));
    }
}

#[test]
fn numbers_of_every_length_and_digit_are_parsed() {
    on_old_and_new_kernels(|both| {
        for length in 1..=10 {
            for digit in [0, 1, 2, 8, 9].into_iter().filter(|&digit| length == 1 || digit > 0) {
                for place in 0..length {
                    let mut digits = vec![b'1'; length];
                    digits[place] = b'0' + digit;
                    let number: u64 = str::from_utf8(&digits).expect("digits").parse().expect("a number");
                    for end in ["", "\n"] {
                        let written = [&digits, end.as_bytes()].concat();
                        let same = format!("{number:#x}\n").into_bytes();
                        let other = format!("{:#x}\n", number + 1).into_bytes();
                        assert!(both.allow(&written, &same) && both.allow(&same, &written));
                        assert!(!both.allow(&written, &other) && !both.allow(&other, &written));
                    }
                }
            }
        }
    });
}

#[test]
fn values_that_only_resemble_short_numbers_are_not_numbers() {
    // Bytes next to the range of digits, and other almost-numbers.
    const VALUES: &[&[u8]] = &[
        b"0",
        b"0\n",
        b"00",
        b"01\n",
        b"007",
        b"08",
        b"0x1",
        b"-1\n",
        b"+1",
        b" 1",
        b"1 ",
        b"1\t\n",
        b"1\n\n",
        b"\n",
        b"\n1",
        b"1\x001",
        b"1\0",
        b"1\0\n",
        b"\0",
        b"1/",
        b"1:",
        b"/1",
        b":1\n",
        b"1a",
        b"\xb1",
        b"1\xb0\n",
        b"12345678\n",
        b"123456789",
        b"1234567a\n",
        b"12345678a",
        b"12345678 ",
        b"12345678\0",
        b"01234567\n",
        b"1 2",
        b"1\n2",
        b"\x0b1",
        b"1\x0b",
        b"99999999",
        b"99999999\n",
        b"999999999",
        b"18446744073709551615",
    ];
    on_old_and_new_kernels(|both| {
        for new in VALUES {
            for old in VALUES {
                both.allow(new, old);
            }
        }
    });
}

#[test]
fn short_values_are_parsed_as_the_language_says() {
    on_old_and_new_kernels(|both| {
        let values = ("[0-9 \\n\\x00:/x-]{1,10}", "[1-9][0-9]{0,8}\\n?", any::<bool>());
        let holds = |(new, old, is_same): (String, String, bool)| {
            let new = if is_same { old.trim_end() } else { &new };
            both.allow(new.as_bytes(), old.as_bytes());
            both.allow(old.as_bytes(), new.as_bytes());
            Ok(())
        };
        TestRunner::default().run(&values, holds).unwrap_or_else(|error| panic!("{error}"));
    });
}

use std::error::Error as _;

use knobgate_bpf::{
    Function, Insn, LineEntry, MapDef, MapKind, MapReference, Program, Reg, Relocation, Size, Width,
};
use knobgate_bpf::{Imm64, helper_ids};
use knobgate_kernel::{BpfObjectError, LoadError, LoadOptions, Map, ProgramFd, SourceLine, load};
use knobgate_testing::scratch;
use libtest_mimic::Failed;

use crate::fixtures::{allow, attach, id, loaded, program};

pub(crate) const TESTS: &[super::Test] = &[
    ("a_program_that_allows_everything_loads", passes),
    ("a_rejection_names_the_source_line", rejection),
    ("a_rejection_without_lines_has_a_reason", rejection_without_lines),
    ("a_log_that_is_too_long_keeps_the_reason", long_log),
    ("a_program_of_more_than_a_million_instructions_is_too_large", too_large),
    ("an_endless_program_is_too_large", endless),
    ("a_relocation_to_a_missing_map_is_an_error", bad_relocation),
    ("a_frozen_map_has_its_contents_and_cannot_be_updated", frozen),
    ("a_map_is_filled_iterated_and_updated", map),
    ("a_map_that_no_instruction_uses_is_found_through_the_link", bound),
    ("a_value_is_reached_by_its_address", value),
    ("subprograms_load_with_their_names", subprogram),
];

fn passes() -> Result<(), Failed> {
    let loaded = loaded(&Program { name: "a-name that is too long".to_owned(), ..allow() });
    let info = loaded.program.info()?;
    assert_eq!(info.name, "a_name_that_is_");
    assert!(info.is_for_sysctl());
    assert_eq!((info.insn_count, info.created_by_uid), (2, 0));
    assert!(loaded.has_line_info && info.has_line_info);
    assert!(info.verified_insns == 0 || info.verified_insns == 2);
    assert!(ProgramFd::all_ids()?.contains(&info.id));
    assert_eq!(ProgramFd::by_id(info.id)?.info()?.tag, info.tag);
    let unseen = load(&allow(), &LoadOptions::default())?;
    let gone = id(&unseen.program);
    drop(unseen);
    knobgate_testing::eventually("the program goes with its descriptor", || {
        matches!(ProgramFd::by_id(gone), Err(BpfObjectError::NoSuchId { .. }))
    });
    Ok(())
}

/// Returns 2, which is neither 0 nor 1.
fn wrong() -> Program {
    let mut program = program(
        "wrong",
        [Insn::mov(Width::W64, Reg::R0, 1), Insn::mov(Width::W64, Reg::R0, 2), Insn::exit()],
    );
    program.lines.entries.push(LineEntry {
        insn: 1,
        line: 7,
        column: 1,
        text: "deny write kernel.**".to_owned(),
    });
    program
}

fn rejection() -> Result<(), Failed> {
    let error = load(&wrong(), &LoadOptions::default()).expect_err("a rejection");
    let log = error.log().ok_or("there is no log")?;
    assert_eq!(log.last_source_line().map(|line| line.text), Some("deny write kernel.**"));
    assert_eq!(
        log.source_lines().map(|line| line.text).collect::<Vec<_>>(),
        ["policy test", "deny write kernel.**"]
    );
    if let Some(SourceLine { position: Some(place), .. }) = log.last_source_line() {
        assert_eq!(place, ("test.knob", 7));
    }
    let message = error.to_string();
    assert!(
        message.contains("\"wrong\" at ") && message.contains("deny write kernel.**: At program exit"),
        "{message}"
    );
    assert!(!message.contains('\n'), "{message}");
    assert!(matches!(error, LoadError::Rejected { .. }));
    assert!(error.source().is_some());
    Ok(())
}

fn rejection_without_lines() -> Result<(), Failed> {
    let options = LoadOptions { line_info: false, ..LoadOptions::default() };
    let error = load(&wrong(), &options).expect_err("a rejection");
    let log = error.log().ok_or("there is no log")?;
    assert_eq!(log.last_source_line(), None);
    assert!(log.reason().contains("R0"), "{log}");
    Ok(())
}

fn long_log() -> Result<(), Failed> {
    let many = std::iter::repeat_n(Insn::mov(Width::W64, Reg::R0, 1), 80_000);
    let too_much = many.chain([Insn::mov(Width::W64, Reg::R0, 2), Insn::exit()]);
    let program = program("long_log", too_much);
    let error = load(&program, &LoadOptions::default()).expect_err("a rejection");
    let log = error.log().ok_or("there is no log")?;
    // More than fits into the first buffer.
    assert!(!log.is_truncated() && log.text().len() > 1 << 20, "{}", log.text().len());
    assert!(log.reason().contains("R0"), "{}", log.reason());

    let short = LoadOptions { log_limit: 4096, ..LoadOptions::default() };
    let error = load(&program, &short).expect_err("a rejection");
    let log = error.log().ok_or("there is no log")?;
    assert!(log.is_truncated() && log.text().len() <= 4096, "{}", log.text().len());
    assert!(log.reason().contains("R0") && log.stats().processed_insns.is_some(), "{log}");
    Ok(())
}

fn too_large() -> Result<(), Failed> {
    let many = std::iter::repeat_n(Insn::mov(Width::W64, Reg::R0, 1), 1_000_000);
    let error = load(&program("too_large", many.chain([Insn::exit()])), &LoadOptions::default());
    assert!(matches!(error, Err(LoadError::TooLarge { insns: 1_000_001, .. })), "{error:?}");
    Ok(())
}

fn endless() -> Result<(), Failed> {
    // Counts to two million. Each iteration is a new state for the verifier.
    let counting = [
        Insn::mov(Width::W64, Reg::R0, 0),
        Insn::alu(Width::W64, knobgate_bpf::AluOp::Add, Reg::R0, 1),
        Insn::jump_if(Width::W64, knobgate_bpf::Cond::Lt, Reg::R0, 2_000_000, -2),
        Insn::mov(Width::W64, Reg::R0, 1),
        Insn::exit(),
    ];
    let mut endless = program("endless", counting);
    for (insn, line, text) in [(1, 2, "count"), (2, 3, "once more")] {
        endless.lines.entries.push(LineEntry { insn, line, column: 1, text: text.to_owned() });
    }
    let error = load(&endless, &LoadOptions::default()).expect_err("a rejection");
    assert!(matches!(error, LoadError::TooLarge { insns: 5, .. }), "{error}");
    let message = error.to_string();
    let log = error.log().ok_or("there is no log")?;
    assert!(log.reason().contains("too large"), "{}", log.reason());
    if log.last_insn().is_none() {
        // Before 6.4, such a long log has no end, and its beginning says nothing about the reason.
        assert!(log.is_truncated() && !message.contains("ran out at"), "{message}");
        return Ok(());
    }
    assert!(
        message.contains("ran out at") && (message.ends_with("count") || message.ends_with("once more")),
        "{error}"
    );
    Ok(())
}

fn array(name: &str, frozen: bool) -> MapDef {
    let contents = vec![(0u32.to_ne_bytes().to_vec(), 7u64.to_ne_bytes().to_vec())];
    MapDef {
        name: name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        contents,
        frozen,
        ..MapDef::default()
    }
}

fn bad_relocation() -> Result<(), Failed> {
    let [first, second] = Insn::load_imm64(Reg::R1, Imm64::Value(0));
    let insns = [first, second, Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()];
    let cases = [(0, 1), (2, 0), (3, 0), (99, 0)];
    for (insn, map) in cases {
        let program = Program {
            maps: vec![array("a", false)],
            relocations: vec![Relocation { insn, map, target: MapReference::Map }],
            ..program("bad", insns)
        };
        let error = load(&program, &LoadOptions::default());
        assert!(matches!(error, Err(LoadError::BadRelocation { .. })), "{insn} {map}: {error:?}");
    }
    Ok(())
}

fn frozen() -> Result<(), Failed> {
    let loaded = loaded(&Program { maps: vec![array("frozen", true), array("open", false)], ..allow() });
    let key = 0u32.to_ne_bytes();
    let frozen = loaded.map("frozen").ok_or("no map")?;
    assert!(frozen.is_frozen()?);
    assert_eq!(frozen.lookup(&key)?, Some(7u64.to_ne_bytes().to_vec()));
    let error = frozen.update(&key, &8u64.to_ne_bytes()).expect_err("frozen");
    assert!(
        matches!(&error, BpfObjectError::Failed { error: reason, .. } if reason.raw_os_error() == Some(libc::EPERM)),
        "{error}"
    );

    let open = loaded.map("open").ok_or("no map")?;
    assert!(!open.is_frozen()?);
    open.update(&key, &8u64.to_ne_bytes())?;
    assert_eq!(open.lookup(&key)?, Some(8u64.to_ne_bytes().to_vec()));
    open.freeze()?;
    assert!(open.is_frozen()?);
    Ok(())
}

fn map() -> Result<(), Failed> {
    let contents: Vec<_> = (0..5u8).map(|n| (vec![n, 0], vec![n; 3])).collect();
    let hash = MapDef {
        name: "hash".to_owned(),
        kind: MapKind::Hash,
        key_size: 2,
        value_size: 3,
        max_entries: 8,
        flags: 0,
        contents: contents.clone(),
        frozen: false,
        ..MapDef::default()
    };
    let loaded = loaded(&Program { maps: vec![hash], ..allow() });
    let map = loaded.map("hash").ok_or("no map")?;
    let mut entries: Vec<_> = map.entries()?.into_iter().map(|entry| (entry.key, entry.value)).collect();
    entries.sort();
    assert_eq!(entries, contents);
    assert!(map.delete(&[0, 0])?);
    assert!(!map.delete(&[0, 0])?);
    assert_eq!(map.lookup(&[0, 0])?, None);
    assert_eq!(map.entries()?.len(), 4);
    for most in [0, 3, 4, 5] {
        assert_eq!(map.first_entries(most)?.len(), most.min(4));
    }
    for error in [map.lookup(&[0]).map(drop), map.update(&[0, 0], &[0; 4]), map.delete(&[]).map(drop)] {
        assert!(
            matches!(error, Err(BpfObjectError::WrongSize { key_size: 2, value_size: 3, .. })),
            "{error:?}"
        );
    }
    let info = map.info();
    assert_eq!((info.name.as_str(), info.kind, info.max_entries), ("hash", 1, 8));
    assert!(Map::all_ids()?.contains(&info.id));
    assert!(matches!(Map::by_id(u32::MAX), Err(BpfObjectError::NoSuchId { .. })));
    Ok(())
}

fn bound() -> Result<(), Failed> {
    let cgroup = scratch();
    let text = MapDef { contents: vec![], ..array("text", false) };
    let (program, link) = attach(&Program { maps: vec![text], ..allow() }, &cgroup);
    drop(program);
    let maps = link.program()?.maps()?;
    assert_eq!(maps.iter().map(|map| map.info().name).collect::<Vec<_>>(), ["text"]);
    Ok(())
}

fn value() -> Result<(), Failed> {
    let [first, second] = Insn::load_imm64(Reg::R2, Imm64::Value(0));
    let load_value = [
        first,
        second,
        Insn::load(Size::U8, Reg::R0, Reg::R2, 0),
        Insn::store(Size::U8, Reg::R2, 0, 0x2a),
        Insn::mov(Width::W64, Reg::R0, 1),
        Insn::exit(),
    ];
    let program = Program {
        maps: vec![array("value", false)],
        relocations: vec![Relocation { insn: 0, map: 0, target: MapReference::Value(4) }],
        ..program("value", load_value)
    };
    let cgroup = scratch();
    let loaded = loaded(&program);
    let _link = knobgate_kernel::Link::create(&loaded.program, &cgroup)?;
    knobgate_testing::shell(&cgroup, "read line < /proc/sys/kernel/ostype").status()?;
    let stored = loaded.map("value").ok_or("no map")?.lookup(&0u32.to_ne_bytes())?;
    assert_eq!(stored.map(|value| value[4]), Some(0x2a));
    Ok(())
}

fn subprogram() -> Result<(), Failed> {
    let insns = [Insn::call_function(1), Insn::exit(), Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()];
    let functions =
        vec![Function { name: "main".to_owned(), start: 0 }, Function { name: "one".to_owned(), start: 2 }];
    let loaded = loaded(&Program { functions, ..program("calls", insns) });
    assert!(loaded.has_line_info);
    // A call of an unknown helper is rejected with a reason, too.
    let unknown =
        program("unknown", [Insn::call_helper(helper_ids::SYSCTL_GET_NAME + 100_000), Insn::exit()]);
    let error = load(&unknown, &LoadOptions::default()).expect_err("a rejection");
    assert!(error.to_string().contains("func"), "{error}");
    Ok(())
}

//! docs/support.md says what works where. Its tables are made from those of `knobgate_bpf`, and from the heads of the corpus's
//! programs, which the tests run on the kernel and on the model. `SNAPSHOTS=overwrite` writes them again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use knobgate_bpf::{Helper, MapKind, MapSupport, Object, helper_ids};
use knobgate_hook::Profile;
use knobgate_testing::corpus::{CorpusProgram, Head, PROGRAMS};

/// Features by heading, each with the program of the corpus that shows it.
const FEATURES: &[(&str, &[(&str, &str)])] = &[
    (
        "Variables and objects",
        &[
            ("`.bss`", "data_bss"),
            ("`.data`", "data_initialized"),
            ("`.rodata`", "data_constant"),
            ("`const volatile` variables that are set before loading", "data_const_volatile"),
            ("dead code after a constant", "data_dead_code"),
            ("sections of variables with other names", "data_own_section"),
            ("`static` variables", "data_static"),
            ("maps with BTF, in `.maps`", "map_hash"),
            ("maps without BTF, in `maps`", "map_legacy"),
            ("maps that are pinned by name", "map_pinned"),
            ("maps with initial contents (`.values`)", "tail_call"),
            ("several programs in an object", "several_programs"),
            ("a license that is not compatible with the GPL", "license_proprietary"),
            ("helpers for the GPL without it", "license_required"),
            ("helpers for other types of program", "helper_of_other_types"),
        ],
    ),
    (
        "Types, options, functions and variables of the kernel",
        &[
            ("CO-RE: fields, sizes, existence of types", "core_types"),
            ("CO-RE: `bpf_core_field_exists`", "core_field_exists"),
            ("CO-RE: values of enums", "core_enumerators"),
            ("CO-RE: a field that the kernel lacks, in code that is not reached", "core_missing_field"),
            ("CO-RE: such a field in code that is reached", "core_missing_field_reached"),
            ("`__kconfig`: the version", "kconfig_version"),
            ("`__kconfig`: an option", "kconfig_option"),
            ("`__ksym`: an address", "ksym"),
            ("kfuncs", "kfunc"),
            ("kfuncs that return references", "kfunc_task"),
            ("kfuncs for strings", "kfunc_string"),
            ("weak kfuncs that the kernel lacks", "kfunc_weak"),
            ("exceptions (`bpf_throw`)", "exception"),
            ("the current task as a pointer with a type", "task_pointer"),
            ("the task through `bpf_probe_read_kernel`", "task_read"),
        ],
    ),
    (
        "Functions",
        &[
            ("`static` functions", "function_static"),
            ("global functions", "function_global"),
            ("global functions with pointers", "function_global_with_pointer"),
            ("`void` functions", "function_void"),
            ("weak functions", "function_weak"),
            ("five arguments", "function_five_arguments"),
            ("a struct as a result", "function_returning_struct"),
            ("pointers to the stack of the caller", "function_pointer_to_stack"),
            ("a chain of eight functions", "function_depth"),
            ("recursion", "function_recursion"),
            ("nearly 512 bytes of stack", "stack_large"),
            ("more than 512 bytes in two functions (no private stack)", "stack_of_two_functions"),
            ("variable offsets in the stack", "stack_variable_offset"),
            ("tail calls", "tail_call"),
            ("tail calls in functions", "tail_call_in_function"),
        ],
    ),
    (
        "Loops and callbacks",
        &[
            ("bounded loops", "loop_bounded"),
            ("nested loops", "loop_nested"),
            ("loops without an end", "loop_endless"),
            ("`bpf_loop`", "loop_helper"),
            ("`bpf_for_each_map_elem`, hashes", "map_for_each"),
            ("`bpf_for_each_map_elem`, arrays", "map_for_each_array"),
            ("open-coded iterators (`bpf_for`)", "loop_iterator"),
            ("`may_goto`", "loop_may_goto"),
        ],
    ),
    (
        "Instructions",
        &[
            ("arithmetic with 32 bits", "alu_32_bits"),
            ("byte swaps", "alu_byte_swap"),
            ("signed division", "alu_signed_division"),
            ("sign extension", "alu_sign_extension"),
            ("`gotol`", "jump_long"),
            ("`switch`", "switch_statements"),
            ("tables of constants for `switch`", "switch_lookup"),
            ("atomic addition", "atomic_add"),
            ("atomic addition with a result", "atomic_fetch_add"),
            ("atomic `and`, `or`, `xor`", "atomic_bits"),
            ("atomic exchange", "atomic_exchange"),
            ("load-acquire, store-release", "atomic_acquire_release"),
        ],
    ),
    (
        "Fields of values, and memory",
        &[
            ("`bpf_spin_lock`", "spin_lock"),
            ("`BPF_F_LOCK`", "spin_lock_update"),
            ("`bpf_timer`", "timer"),
            ("`bpf_wq`", "map_work_queue"),
            ("`kptr`", "map_kptr"),
            ("`bpf_list_head`, `bpf_rb_root`, `bpf_refcount`", "map_list"),
            ("arenas", "map_arena"),
            ("`BPF_F_MMAPABLE`", "map_array_mappable"),
            ("a write to a map with `BPF_F_RDONLY_PROG`", "map_array_read_only"),
            ("records of a ring buffer", "ring_buffer_reserve"),
            ("dynptrs on a ring buffer", "ring_buffer_dynptr"),
            ("dynptrs on memory", "dynptr_of_memory"),
            ("perf events", "perf_event_output"),
        ],
    ),
    (
        "The hook",
        &[
            ("narrow loads of the context", "context_narrow_position"),
            ("stores to `file_pos`", "context_position_store"),
            ("stores to `write`", "context_store_to_write"),
            ("replaced values, which [many kernels drop](kernels.md)", "set_new_value"),
            ("`bpf_set_retval`", "retval_set"),
            ("results other than 0 and 1", "return_two"),
        ],
    ),
];

/// A table of the document, after the heading that it belongs to.
type Table = (&'static str, String);

fn release((major, minor): (u16, u16)) -> String {
    format!("{major}.{minor}")
}

fn helpers() -> Table {
    let mut table =
        "| helper | number | kernel | user space | requires |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for helper in Helper::ALL {
        let kernel = if helper.might_sleep { "no: it may sleep".to_owned() } else { release(helper.since) };
        let model = match helper.proto {
            _ if helper.might_sleep => "rejected, too",
            Some(_) => "yes",
            None => "no",
        };
        let mut requires = Vec::new();
        if helper.gpl_only {
            requires.push("GPL".to_owned());
        }
        // Where it is needed from the start, the release is left out.
        match helper.perfmon_since {
            Some(since) if since > helper.since.max((5, 8)) => {
                requires.push(format!("`CAP_PERFMON` since {}", release(since)));
            }
            Some(_) => requires.push("`CAP_PERFMON`".to_owned()),
            None => {}
        }
        if matches!(helper.id, helper_ids::GET_RETVAL | helper_ids::SET_RETVAL) {
            requires.push("expected attach type 18".to_owned());
        }
        let name = helper.name.trim_start_matches("bpf_");
        writeln!(table, "| `{name}` | {} | {kernel} | {model} | {} |", helper.id, requires.join(", "))
            .expect("a String");
    }
    ("## Helpers", table)
}

fn map_types() -> Table {
    let mut table = "| type | kernel | user space |\n| --- | --- | --- |\n".to_owned();
    for kind in MapKind::ALL {
        let (kernel, model) = match kind.support() {
            MapSupport::Modelled { since } => (release(since), "yes"),
            MapSupport::KernelOnly { since } => (release(since), "no"),
            MapSupport::Unsupported { reason } => (format!("no: {reason}"), "no"),
            other => panic!("{other:?} has no row"),
        };
        writeln!(table, "| `{}` | {kernel} | {model} |", kind.name()).expect("a String");
    }
    ("## Types of map", table)
}

fn program(name: &str) -> &'static CorpusProgram {
    PROGRAMS
        .iter()
        .find(|program| program.name == name)
        .unwrap_or_else(|| panic!("there is no program {name}"))
}

fn head(program: &CorpusProgram) -> Head {
    program.head().unwrap_or_else(|error| panic!("{error}"))
}

fn features() -> impl Iterator<Item = Table> {
    FEATURES.iter().map(|(heading, rows)| {
        let mut table = "| feature | kernel | user space | compiler | program |\n| --- | --- | --- | --- | --- |\n".to_owned();
        for (feature, name) in *rows {
            let head = head(program(name));
            let rejected = |words: &String| format!("rejected: `{words}`");
            let since = || head.since.map_or("all".to_owned(), release);
            let kernel = head.kernel_rejects.as_ref().map_or_else(since, rejected);
            let model = match (&head.model_rejects, &head.model_lacks) {
                (Some(words), _) if Some(words) == head.kernel_rejects.as_ref() => "rejected, too".to_owned(),
                (Some(words), _) => rejected(words),
                (None, Some(_)) => "no".to_owned(),
                (None, None) => "yes".to_owned(),
            };
            let clang = head.clang.map(|version| format!("clang {version}"));
            let cpu = head.cpu.as_ref().map(|cpu| format!("`-mcpu={cpu}`"));
            let compiler = clang.into_iter().chain(cpu).collect::<Vec<_>>().join(", ");
            writeln!(
                table,
                "| {feature} | {kernel} | {model} | {compiler} | [{name}](../crates/testing/corpus/{name}.bpf.c) |"
            )
            .expect("a String");
        }
        (*heading, table)
    })
}

/// The document with this table after its heading, instead of the one that is there.
fn with_table(document: &str, (heading, table): &Table) -> String {
    let level = if heading.starts_with('#') { (*heading).to_owned() } else { format!("### {heading}") };
    let (before, after) = document
        .split_once(&format!("\n{level}\n"))
        .unwrap_or_else(|| panic!("docs/support.md has no heading {level}"));
    let (text, old) = after.split_once("\n| ").unwrap_or_else(|| panic!("there is no table after {level}"));
    let (_, rest) = old.split_once("\n\n").unwrap_or((old, ""));
    let rest = if rest.is_empty() { String::new() } else { format!("\n{rest}") };
    format!("{before}\n{level}\n{text}\n{table}{rest}")
}

#[test]
fn the_document_has_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    let document = fs::read_to_string(&path).expect("docs/support.md");
    let tables = [helpers(), map_types()].into_iter().chain(features());
    let expected = tables.fold(document.clone(), |document, table| with_table(&document, &table));
    if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
        fs::write(&path, expected).expect("docs/support.md");
    } else if document != expected {
        let differs = document.lines().zip(expected.lines()).find(|(is, should)| is != should);
        panic!(
            "docs/support.md is stale: run this test with SNAPSHOTS=overwrite. The first difference: {differs:?}"
        );
    }
}

#[test]
fn each_type_of_map_that_works_has_a_program_and_none_for_older_kernels() {
    let mut shown: BTreeMap<u32, (u16, u16)> = BTreeMap::new();
    for program in PROGRAMS {
        let head = head(program);
        if head.kernel_rejects.is_some() {
            continue;
        }
        let object = program.object().expect("an object").expect("an object");
        let object = Object::read(&object).expect("an object");
        let kernel = head.model_kernel(Profile::default());
        let Ok(program) = object.program_for(head.program.as_deref(), &kernel) else { continue };
        for def in program.maps {
            let since = head.since.unwrap_or(OLDEST).max(OLDEST);
            shown.entry(def.kind.number()).and_modify(|least| *least = since.min(*least)).or_insert(since);
        }
    }
    for kind in MapKind::ALL {
        let (MapSupport::Modelled { since } | MapSupport::KernelOnly { since }) = kind.support() else {
            continue;
        };
        let shown = shown.get(&kind.number()).unwrap_or_else(|| panic!("no program has a {}", kind.name()));
        assert!(*shown >= since.max(OLDEST), "{} since {shown:?}", kind.name());
    }
}

/// The oldest kernel that the corpus is played on.
const OLDEST: (u16, u16) = (5, 10);

//! The diagnostics for mistakes, rendered as plain text and compared with snapshots.

use std::fmt::Write;

use knobgate_policy::{CheckOptions, Diagnostic, KnobName, Severity, Source, Span, parse, parse_json};

/// Every diagnostic of `text`, rendered.
fn rendered(text: &str) -> String {
    rendered_with(text, &CheckOptions::default())
}

fn rendered_with(text: &str, options: &CheckOptions<'_>) -> String {
    let source = Source::new("x.knob", text);
    let diagnostics = match parse(source.clone(), options) {
        Ok(file) => file.warnings().to_vec(),
        Err(error) => error.into_iter().collect(),
    };
    let mut rendering = String::new();
    for diagnostic in &diagnostics {
        render(&mut rendering, &source, diagnostic);
    }
    rendering
}

fn render(rendering: &mut String, source: &Source, diagnostic: &Diagnostic) {
    writeln!(rendering, "{}[{}]: {}", diagnostic.severity, diagnostic.code, diagnostic.message).unwrap();
    mark(rendering, source, diagnostic.primary.span, '^', &diagnostic.primary.text);
    for label in &diagnostic.secondary {
        mark(rendering, source, label.span, '-', &label.text);
    }
    if let Some(help) = &diagnostic.help {
        writeln!(rendering, "  help: {help}").unwrap();
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        let mut fixed = source.text().to_owned();
        fixed.replace_range(suggestion.span.range(), &suggestion.replacement);
        let line = Source::new("", fixed);
        writeln!(rendering, "  try:  {}", line.line_text(line.line(suggestion.span.start))).unwrap();
    }
}

fn mark(rendering: &mut String, source: &Source, span: Span, caret: char, text: &str) {
    let (line, column) = source.line_column(span.start);
    let shown = source.line_text(line).replace('\0', "\u{2400}").replace('\r', "\u{240d}");
    let width = source.slice(span).lines().next().unwrap_or_default().chars().count().max(1);
    writeln!(rendering, "{line:3} | {shown}").unwrap();
    let marks = caret.to_string().repeat(width);
    writeln!(rendering, "    | {}{marks} {text}", " ".repeat(column - 1)).unwrap();
    while rendering.ends_with(" \n") {
        rendering.truncate(rendering.len() - 2);
        rendering.push('\n');
    }
}

/// One snapshot for a table of lines, each rendered as the only rule of a policy.
fn table(lines: &[&str]) -> String {
    let mut table = String::new();
    for line in lines {
        let rendering = rendered(&format!("policy x\n{line}\n"));
        writeln!(
            table,
            "{}",
            if rendering.is_empty() { format!("nothing about {line:?}\n") } else { rendering }
        )
        .unwrap();
    }
    table
}

#[test]
fn headers() {
    let mut table = String::new();
    for text in [
        "",
        "# only a comment\n",
        "allow read **\npolicy late\n",
        "policy\n",
        "policy two words\n",
        "policy sp\u{e9}cial\n",
        "polcy x\nallow read **\n",
        "policy x\npolicy y\n",
        "policy x\nmode audit\nmode enforce\n",
        "policy x\nmode auditt\n",
        "policy x\naudit\n",
        "policy x\ndefault read allow\ndefault read deny\n",
        "policy x\ndefault deny\n",
        "policy x\ndefault read write deny\n",
        "policy x\ndefault write block\n",
        "policy x\ndefault write deny(EPREM)\n",
    ] {
        writeln!(table, "{}", rendered(text)).unwrap();
    }
    let name = "x".repeat(64);
    writeln!(table, "{}", rendered(&format!("policy {name}\n"))).unwrap();
    insta::assert_snapshot!(table);
}

#[test]
fn actions_and_kinds() {
    insta::assert_snapshot!(table(&[
        "alow write kernel.panic",
        "ALLOW write kernel.panic",
        "permit write kernel.panic",
        "reject write kernel.panic",
        "block write kernel.panic",
        "limit write kernel.panic to 1..2",
        "write kernel.panic",
        "banana write kernel.panic",
        "* write kernel.panic",
        "allow kernel.panic",
        "allow rw kernel.panic",
        "allow wirte kernel.panic",
        "allow read, write kernel.panic",
        "allow read read kernel.panic",
        "allow",
        "allow write",
        "allow(EPERM) write kernel.panic",
        "deny(EPREM) write kernel.panic",
        "deny(eperm) write kernel.panic",
        "deny(1) write kernel.panic",
        "deny(-13) write kernel.panic",
        "deny(4095) write kernel.panic",
        "deny(EPERM write kernel.panic",
        "deny() write kernel.panic",
        "deny EPERM write kernel.panic",
    ]));
}

#[test]
fn names_and_patterns() {
    insta::assert_snapshot!(table(&[
        "allow write kernel..panic",
        "allow write .kernel",
        "allow write kernel.",
        "allow write /proc/sys/kernel/panic",
        "allow write kernel.[a-z",
        "allow write kernel.[z-a]",
        "allow write kernel.[]",
        "allow write kernel.[^a]",
        "allow write kernel.[a.b]",
        "allow write kernel.[\u{e9}]",
        "allow write kernel.{a,b",
        "allow write kernel.{a, b}",
        "allow write kernel.{}",
        "allow write kernel.a]",
        "allow write kernel.a}",
        "allow write kernel.\\n",
        "allow write kernel.\\x2f",
        "allow write kernel.a kernel.b",
        "allow write kernel.a **",
        "allow write kernel.a, if new == 1",
        "allow write kernel.a,",
        "allow write kernel.a, log",
        "allow write if new == 1",
        "allow write \"kernel.a\"",
        "allow write 'kernel.a'",
        "allow write kernel.a=1",
        "allow write kernel.a iff new == 1",
        "allow write kernel.a when new == 1",
        "allow write kernel.a lgo",
    ]));
}

#[test]
fn limits_of_events() {
    insta::assert_snapshot!(table(&[
        "allow write kernel.a log(0/s)",
        "allow write kernel.a log(1_000_001/s)",
        "allow write kernel.a log(-5/s)",
        "allow write kernel.a log(10)",
        "allow write kernel.a log(10s)",
        "allow write kernel.a log(10x/s)",
        "allow write kernel.a log(10/m)",
        "allow write kernel.a log(7200/hour)",
        "allow write kernel.a log(10/)",
        "allow write kernel.a log(10 per second)",
        "allow write kernel.a log()",
        "allow write kernel.a log(al)",
        "allow write kernel.a log(never)",
        "allow write kernel.a log(new)",
        "allow write kernel.a log(5/s",
        "allow write kernel.a log(5/s, all)",
        "allow write kernel.a log 5/s",
        "allow write kernel.a log all",
        "allow write kernel.a log(5/s) log(5/s)",
        "allow write kernel.a nolog(5/s)",
        "default write deny log(0/s)",
    ]));
}

#[test]
fn names_that_are_not_sysctls() {
    let mut table = table(&[
        "deny write fs.binfmt_misc.**",
        "allow read fs.file-max, fs.binfmt_misc.status",
        "deny write {kernel,fs.binfmt_misc}.**",
        "test \"x\" { write fs.binfmt_misc.register \":a:\" => deny }",
        "deny write fs.**",
    ]);
    let json =
        r#"{"name": "x", "rules": [{"action": "allow", "kinds": ["write"], "knobs": ["fs.binfmt_misc.*"]}]}"#;
    for error in parse_json("x", json, &CheckOptions::default()).unwrap_err() {
        writeln!(table, "{error}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn conditions_on_the_name_of_the_task() {
    let mut table = String::new();
    for body in [
        "allow write vm.a if comm == \"sysctl\"",
        "allow write vm.a if not (uid == 0 and comm matches \"evil*\")",
        "clamp write vm.a to 1..2 if comm != \"admin\"",
        "deny write vm.a if comm == \"evil\"\nallow write vm.*",
        "deny write vm.* if comm == \"evil\"\nclamp write vm.a to 1..2",
        "deny read vm.a if comm == \"evil\"",
        "deny write vm.a if comm == \"evil\"\nallow write vm.a if new == 1\ndeny write vm.a",
        // The task gains nothing by another name.
        "deny(EACCES) write vm.a if comm == \"evil\"",
        "deny(EACCES) write vm.a if comm == \"evil\"\nallow write kernel.**\nallow read **",
        "deny(EACCES) read vm.a if comm == \"evil\"\ndeny read vm.a",
        "deny(EACCES) write vm.a if comm == \"evil\"\ndeny write vm.a\nallow write **",
    ] {
        let rendering = rendered(&format!("policy x\n{body}\n"));
        writeln!(
            table,
            "{}",
            if rendering.is_empty() { format!("nothing about {body:?}\n") } else { rendering }
        )
        .unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn patterns_have_limits() {
    let long = format!("allow write kernel.{}", "a".repeat(250));
    let deep = format!("allow write {}a{}", "{b,".repeat(33), "}".repeat(33));
    insta::assert_snapshot!(table(&[&long, &deep]));
}

#[test]
fn rewrites() {
    insta::assert_snapshot!(table(&[
        "set write vm.swappiness \"10\"",
        "set write vm.swappiness",
        "set write vm.swappiness=10",
        "set write vm.swappiness to 10",
        "set write vm.swappiness to '10'",
        "set write vm.swappiness to \"a\\nb\"",
        "set write vm.swappiness to \"a\\0b\"",
        "set read vm.swappiness to \"10\"",
        "set read write vm.swappiness to \"10\"",
        "ignore read vm.swappiness",
        "ignore write vm.swappiness to \"10\"",
        "allow write vm.swappiness to 1..2",
        "clamp write vm.swappiness",
        "clamp write vm.swappiness to 5",
        "clamp write vm.swappiness to 5-10",
        "clamp write vm.swappiness to 5..=10",
        "clamp write vm.swappiness to 10..5",
        "clamp write vm.swappiness to []",
        "clamp write vm.swappiness to [1..2, 3..4",
        "clamp write vm.swappiness to [..,..,..,..,..,..,..,..,..]",
        "clamp write vm.swappiness to 1..new",
        "clamp read vm.swappiness to 1..2 if new == 1",
        "set write vm.swappiness to \"open",
        "set write vm.swappiness to \"a\\qb\"",
        "set write vm.swappiness to \"a\\x1\"",
    ]));
}

#[test]
fn the_network_namespace_of_the_knob() {
    insta::assert_snapshot!(table(&[
        "allow write net.** if netns == other",
        "allow write net.** if netns == hots",
        "allow write net.** if netns == init",
        "allow write net.** if netns == \"host\"",
        "allow write net.** if netns == 4026531840",
        "allow write net.** if netns in {host}",
        "allow write net.** if netns == {host}",
        "allow write net.** if netns < host",
        "allow write net.** if netns",
        "allow write net.** if host == netns",
        "allow write net.** if new == netns",
        "allow write net.** if net_ns == host",
        "allow write net.**, vm.a if new == 1 and not netns == host",
        "allow write n*.a if netns == host",
        "allow write {net,vm}.a if netns == host",
        "allow write ** if netns != host",
        "test \"x\" {\n  write net.a \"\" netns hots => allow\n}",
        "test \"x\" {\n  write net.a \"\" netns => allow\n}",
        "test \"x\" {\n  write vm.a \"\" netns host => allow\n}",
        "test \"x\" {\n  write net.a \"\" netns host netns other => allow\n}",
        "allow write net.** if netns == host\ntest \"x\" {\n  write net.a \"\" => allow\n}",
    ]));
}

#[test]
fn conditions() {
    insta::assert_snapshot!(table(&[
        "allow write vm.a if new = 1",
        "allow write vm.a if new == 1 && old == 1",
        "allow write vm.a if new == 1 || old == 1",
        "allow write vm.a if !new == 1",
        "allow write vm.a if new not in {1, 2}",
        "allow write vm.a if nwe == 1",
        "allow write vm.a if value == 1",
        "allow write vm.a if kernel.b == 1",
        "allow write vm.a if banana == 1",
        "allow write vm.a if new",
        "allow write vm.a if",
        "allow write vm.a if new ==",
        "allow write vm.a if new equals 1",
        "allow write vm.a if new mathces \"a\"",
        "allow write vm.a if new starts \"a\"",
        "allow write vm.a if new startswith \"a\"",
        "allow write vm.a if (new == 1",
        "allow write vm.a if new == 1)",
        "allow write vm.a if new == 1 nad old == 1",
        "allow write vm.a if new == 1 log log",
        "allow write vm.a log if new == 1",
        "allow write vm.a if new == 1 to \"x\"",
        "allow write vm.a if new == 1;",
        "allow write vm.a if new in (1, 2)",
        "allow write vm.a if new in {}",
        "allow write vm.a if new in {1, ..}",
        "allow write vm.a if new in {5..1}",
        "allow write vm.a if new in {1-5, 7}",
        "allow write vm.a if new in {1..2 3}",
        "allow write vm.a if new == [1, 2..3]",
        "allow write vm.a if new != [..]",
        "allow write vm.a if new < [1, 2]",
        "allow write vm.a if 1 == new == [1, 2]",
        "allow write vm.a if [1, 2] == new",
        "allow write vm.a if new in []",
        "allow write vm.a if new in [1, 2, 3, 4, 5, 6, 7, 8, 9]",
        "allow write vm.a if new in [.., ..]",
        "allow write vm.a if new in [1, 2",
        "allow write vm.a if new in [1, \"a\"]",
        "allow write vm.a if new in [\"a\", \"b\"]",
        "allow write vm.a if uid in [0, 1000]",
        "allow write vm.a if new[0] == [0, 1000]",
        "allow write vm.a if comm == [0, 1000]",
        "allow write vm.a if each(new) == each(old)",
        "allow write vm.a if each new == 1",
        "allow write vm.a if each(uid) == 1",
        "allow write vm.a if each(new) matches \"a\"",
        "allow write vm.a if each(new)",
        "allow write vm.a if ranges(new) == 5",
        "allow write vm.a if ranges(new) in ..",
        "allow write vm.a if ranges(new) in {}",
        "allow write vm.a if ranges(new) in {\"a\"}",
        "allow write vm.a if ranges(uid) in 1..2",
        "allow read vm.a if ranges(new) in 1..2",
        "allow write vm.a if new & 0 == 0",
        "allow write vm.a if new & -1 == 0",
        "allow write vm.a if new & 6",
        "allow write vm.a if new & old == 0",
        "allow write vm.a if 6 & new == 0",
        "allow write vm.a if uid & 1 == 0",
        "allow write vm.a if new & 6 == \"a\"",
        "allow write vm.a if new == 1 & old == 1",
        "allow write vm.a if new & 1 & 2 == 0",
        "allow write vm.a if new in {1, \"a\"}",
        "allow write vm.a if new in {old}",
        "allow write vm.a if new in 1",
        "allow write vm.a if new in ..",
        "allow write vm.a if new in 2..1",
        "allow write vm.a if new in 1..old",
        "allow write vm.a if 1 == 1",
        "allow write vm.a if \"a\" == \"a\"",
        "allow write vm.a if 1 in 1..2",
        "allow write vm.a if 1 <= 2 <= new",
        "allow write vm.a if new < \"a\"",
        "allow write vm.a if new[0] == \"a\"",
        "allow write vm.a if uid == \"root\"",
        "allow write vm.a if comm == 5",
        "allow write vm.a if comm == new",
        "allow write vm.a if comm in 1..2",
        "allow write vm.a if \"a\" == new == \"b\"",
        "allow write vm.a if new == \"a\\n\"",
        "allow write vm.a if new contains \"\\0\"",
        "allow write vm.a if new matches \"a\\nb\"",
        "allow write vm.a if new matches \"[a\"",
        "allow write vm.a if new matches \"\\*\"",
        "allow write vm.a if new == 'x'",
        "allow write vm.a if new[8] == 1",
        "allow write vm.a if new[-1] == 1",
        "allow write vm.a if new[old] == 1",
        "allow write vm.a if count(comm) == 1",
        "allow write vm.a if count new == 1",
        "allow write vm.a if new == 18446744073709551616",
        "allow write vm.a if new == 08",
        "allow write vm.a if new == 64K",
        "allow write vm.a if new == 1__0",
        "allow write vm.a if new == 0x",
        "allow write vm.a if new \u{2264} 5",
        "allow read vm.a if new == 1",
        "allow read vm.a if old == 1 and (uid == 0 or count(new) == 1)",
        "allow read write vm.a if new == 1",
    ]));
}

#[test]
fn conditions_have_limits() {
    let parens = format!("allow write vm.a if {}new == 1{}", "(".repeat(33), ")".repeat(33));
    let nots = format!("allow write vm.a if {}new == 1", "not ".repeat(33));
    let fine = format!("allow write vm.a if {}new == 1{}", "(".repeat(32), ")".repeat(32));
    insta::assert_snapshot!(table(&[&parens, &nots, &fine]));
    let long = rendered(&format!("policy x\nallow write vm.a if new == \"{}\"\n", "a".repeat(4104)));
    assert!(
        long.starts_with("error[text-too-long]: a text has at most 4095 bytes here, and this one has 4104\n"),
        "{long}"
    );
}

#[test]
fn tests_of_policies() {
    let mut table = String::new();
    for body in [
        "test \"x\" {\n  write a.b => allow\n}",
        "test \"x\" {\n  read a.b \"1\" => allow\n}",
        "test \"x\" {\n  read a.* => allow\n}",
        "test \"x\" {\n  raed a.b => allow\n}",
        "test \"x\" {\n  read a.b -> allow\n}",
        "test \"x\" {\n  read a.b allow\n}",
        "test \"x\" {\n  read a.b => permit\n}",
        "test \"x\" {\n  read a.b => deny(EPERM)\n}",
        "test \"x\" {\n  read a.b => deny EPREM\n}",
        "test \"x\" {\n  read a.b => set \"1\"\n}",
        "test \"x\" {\n  read a.b uid -1 gid 4294967296 => allow\n}",
        "test \"x\" {\n  read a.b pos 18446744073709551615 old \"\" old \"\" => allow\n}",
        "test \"x\" {\n  read a.b comm \"0123456789abcdef\" => allow\n}",
        "test \"x\" {\n  read a.b  user 1 => allow\n}",
        "test \"x\" {\n  read a.b => allow",
        "test \"x\" {\n  read a.b => allow\nallow read **",
        "test \"x\"\n",
        "test x {\n}",
        "test \"x\" {\n}",
        "test \"x\" { read a.b => allow }\ntest \"x\" { read a.b => allow }",
    ] {
        writeln!(table, "{}", rendered(&format!("policy x\n{body}\n"))).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn all_errors_of_a_file_are_reported_in_order() {
    insta::assert_snapshot!(rendered(
        "policy x\n\
         alow write kernel.a\n\
         allow write kernel.a if new in {1,\n  2,\n  three,\n  4}\n\
         allow write kernel.b,\n  kernel..c,\n  kernel.d\n\
         deny(EPREM) read kernel.e if new == 1\n\
         test \"t\" {\n  read kernel.a =>\n  write kernel.b \"1\" => alow\n}\n\
         allow write kernel.f if new == 1 and\n  old = 2\n\
         allow write kernel.g if new < \"x\"\n"
    ));
}

#[test]
fn unreachable_rules() {
    let mut table = String::new();
    for body in [
        "deny write kernel.**\nallow write kernel.panic",
        "deny write kernel.panic\nallow write kernel.panic if new == 1",
        "deny write kernel.a\ndeny write kernel.b\nallow write kernel.{a,b}, kernel.a",
        "deny read **\ndeny write net.**\nallow read write net.core.*",
        "allow write net.ipv4.conf.**\ndeny write net.ipv4.conf.*.rp_filter",
        "deny write **\nallow write **",
        // All of these are reachable.
        "deny write kernel.** if new == 1\nallow write kernel.panic",
        "deny read kernel.**\nallow write kernel.panic",
        "deny write kernel.*\nallow write kernel.a.b",
        "deny write kernel.a\nallow write kernel.?",
        "deny write **\nallow read write **",
    ] {
        let rendering = rendered(&format!("policy x\n{body}\n"));
        writeln!(
            table,
            "{}",
            if rendering.is_empty() { format!("nothing about {body:?}\n") } else { rendering }
        )
        .unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn unknown_knobs() {
    let knobs: Vec<KnobName> = ["kernel.core_pattern", "kernel.panic", "net.core.somaxconn"]
        .iter()
        .map(|name| KnobName::parse(name).unwrap())
        .collect();
    let options = CheckOptions::default().knobs(&knobs);
    let text = "policy x\nallow write kernel.core_patern, kernel.panic, net.cor.*, n*.**, banana\n";
    insta::assert_snapshot!(rendered_with(text, &options));
}

#[test]
fn knobs_that_this_machine_lacks() {
    let here: Vec<KnobName> = vec![KnobName::parse("kernel.vendor_limit").unwrap()];
    let mut table = String::new();
    for rule in [
        // Of the catalogue, or of the machine.
        "deny write kernel.core_pattern, kernel.vendor_limit, kernel.vendor*",
        "deny write net.ipv4.conf.lxc*.rp_filter, net.ipv4.conf.eth0/100.rp_filter, net/ipv4/conf/eth0.100/rp_filter",
        "deny write net.ipv4.conf.**, **.rp_filter, {net,vm}.{a,*}.conf.*.*",
        // Of neither.
        "deny write kernel.vendor_limt, kernel.core_patern, net.ipv4.conf.web0.rp_fliter",
        "deny write kernel.banana, kernel.banana*, kernel",
        // A name with a dot.
        "deny write net.ipv4.conf.eth0.100.rp_filter",
        "deny write net/ipv4/conf/eth0/100/rp_filter",
        "deny write net.ipv4.conf.*.*.rp_filter",
        "deny write net.ipv4.conf.eth0.{100,200}.rp_filter",
        "deny write net.ipv4.conf.eth0.1.2.3.4.rp_filter",
    ] {
        let text = format!("policy x\n{rule}\n");
        let mut last = None;
        for (machine, options) in [
            ("on a machine with kernel.vendor_limit", CheckOptions::default().knobs(&here)),
            ("on any machine", CheckOptions::default().knobs(&[])),
            ("without names", CheckOptions::default()),
        ] {
            let rendering = rendered_with(&text, &options);
            if last.as_ref() != Some(&rendering) {
                let shown = if rendering.is_empty() { "nothing\n" } else { &rendering };
                writeln!(table, "{machine}: {rule}\n{shown}").unwrap();
            }
            last = Some(rendering);
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn numbers_that_a_knob_stores_as_other_numbers() {
    insta::assert_snapshot!(table(&[
        "allow write net.ipv4.icmp_ratelimit if new >= 4294967296",
        "allow write net.ipv4.neigh.eth0.locktime if 2 <= new <= 300_000_000",
        "clamp write vendor.limit to ..4294967296",
        "width 64 vendor.*\nclamp write vendor.limit to ..4294967296",
        "deny write kernel.panic if -2147483649 == new",
        "allow write kernel.panic, kernel.shmmax if new in {1, 4294967296}",
        // Some knob may store it.
        "allow write kernel.shmmax, kernel.shm*, ** if new <= 18446744073709551615",
        "allow write kernel.pan* if new <= 18446744073709551615",
        // The current value, or a rule for reads.
        "allow write kernel.panic if old <= 4294967296",
        "allow read kernel.panic if old <= 4294967296",
        // Ticks, powers of two, booleans, bits.
        "allow write net.ipv4.icmp_ratelimit if new < 5005",
        "allow write net.ipv4.icmp_ratelimit if new > 5005 and new <= 6000",
        "deny write net.ipv4.icmp_ratelimit if not new in 3..5005",
        "allow write net.ipv4.neigh.eth0.locktime if 5 <= new",
        "clamp write net.ipv4.neigh.eth0.locktime to 4..7",
        "allow write fs.pipe-max-size if new <= 1_000_000",
        "allow write fs.pipe-max-size if new <= 0x100000",
        "allow write fs.pipe-max-size if new == 64",
        "deny write fs.pipe-max-size if new > 0",
        "allow write net.core.rps_sock_flow_entries if new in {0, 64}",
        "allow write vm.hugetlb_optimize_vmemmap if new == 2",
        "allow write net.bridge.bridge-nf-call-iptables if new == 2",
        "allow write net.bridge.bridge-nf-call-iptables if new in 0..1",
        "allow write kernel.tainted if new == 512",
        "allow write net.core.flow_limit_cpu_bitmap if new <= 10",
        "allow write kernel.hostname if new == 10",
        "deny write kernel.hostname if new == \"10\"",
        // Numbers as texts.
        "deny write kernel.panic if new == \"10\"",
        "deny write kernel.panic if new in {\"a\", \"0x10\"}",
        "allow write kernel.panic if not \"-1\" == new",
        "allow write kernel.panic if new == \"10\"",
        "deny write kernel.panic if old == \"10\" or comm == \"10\" or new == \"1 2\"",
        // The statement.
        "width 64",
        "width 32 vendor.limit",
        "width vendor.limit",
        "width 64 vendor.limit if new == 1",
        "width 64 \"vendor.limit\"",
    ]));
}

#[test]
fn rules_that_never_do_what_they_say() {
    insta::assert_snapshot!(table(&[
        // Knobs that nobody can write. A denial does no harm, and other knobs of a glob may be written.
        "allow write kernel.ostype",
        "set write kernel.ostype to \"x\"",
        "clamp write vm.panic_on_oom, fs.file-nr to 0..1",
        "allow write kernel.osty*, fs.{file-nr,no_such}",
        "deny write kernel.ostype",
        "allow read write kernel.ostype",
        "allow write kernel.os*, kernel.**",
        // Knobs that nobody can read.
        "allow read vm.drop_caches",
        "deny read vm.drop_caches",
        "allow read vm.**",
        "allow write vm.drop_caches if old == 0 or new == 1",
        "deny write vm.panic_on_oom, vm.compact_memory if count(old) == 1",
        "deny write vm.* if old == 1",
        "allow read write vm.drop_caches if old == 1",
        // Knobs that act.
        "ignore write vm.drop_caches",
        "ignore write vm.{drop_caches,compact_memory}, vm.panic_on_oom",
        "ignore write vm.*",
        "deny write vm.drop_caches",
        // Numbers that the kernel does not store.
        "allow write dev.tty.ldisc_autoload if new in 5..9",
        "allow write dev.tty.ldisc_autoload if new in {0, 2}",
        "allow write dev.tty.ldisc_autoload if uid == 0 or 2 <= new",
        "allow write dev.tty.ldisc_autoload if new < 0",
        "deny write dev.tty.ldisc_autoload if new != 5",
        "deny write dev.tty.ldisc_autoload if new <= 5",
        "clamp write dev.tty.ldisc_autoload to 2..3",
        "set write dev.tty.ldisc_autoload to \"2\"",
        "allow write kernel.modules_disabled if new == 0",
        "allow write vm.panic_on_oom, dev.tty.ldisc_autoload if new == 2",
        // These are wider, or right on some kernel, or about other values.
        "allow write dev.tty.ldisc_autoload if new in 0..9",
        "deny write dev.tty.ldisc_autoload if new > 5",
        "deny write dev.tty.ldisc_autoload if new == 5",
        "clamp write dev.tty.ldisc_autoload to 1..5",
        "set write dev.tty.ldisc_autoload to \"1\"",
        "allow write kernel.numa_balancing if new == 4",
        "allow write dev.tty.* if new == 1",
        "allow write {dev.tty.ldisc_autoload,vm.panic_on_oom} if new == 2",
        "allow write dev.tty.ldisc_autoload if old == 7",
        "allow write dev.tty.ldisc_autoload if new == \"7\"",
    ]));
}

#[test]
fn rules_about_another_count_of_numbers() {
    insta::assert_snapshot!(table(&[
        "allow write kernel.sem if new == [250, 32000]",
        "allow write kernel.sem if new in [.., 32000, .., .., 1]",
        "allow write vm.swappiness if new != [10, 20]",
        "allow write net.ipv4.tcp_rmem if 1 < new <= 6291456",
        "allow write net.ipv4.tcp_{r,w}mem if new in 1..6291456",
        "allow write net.ipv4.tcp_rmem if new in {1, 2}",
        "allow write kernel.printk if new & 4 == 0",
        "allow write vm.swappiness if new[1] == 0",
        "allow read vm.panic_on_oom, vm.swappiness if old[3] == 0",
        "deny write net.ipv4.tcp_rmem if old > 1",
        "clamp write net.ipv4.tcp_rmem to 1..2",
        "clamp write vm.swappiness to [1..2, 3..4]",
        "set write vm.swappiness to \"10 20\"",
        // Right, or said to be meant.
        "allow write kernel.sem if new == [250, 32000, 100, 128]",
        "allow write kernel.sem if new[3] == 1 and each(new) > 0",
        "allow write kernel.printk if count(new) == 1 and new <= 4",
        "clamp write kernel.printk to 1..2 if count(new) == 1",
        "set write kernel.printk to \"3\"",
        "allow write kernel.printk if new == \"3\" or new in {\"4\"}",
        // Not known, or not the same for all.
        "allow write vm.lowmem_reserve_ratio if new == [1, 2]",
        "allow write net.ipv4.tcp_* if new == 1",
        "allow write vendor.limit if new == [1, 2]",
        "allow write kernel.core_pattern if new == [1, 2]",
    ]));
}

#[test]
fn comparisons_that_a_mask_decides() {
    insta::assert_snapshot!(table(&[
        "allow write kernel.sysrq if new & 6 == 1",
        "allow write kernel.sysrq if 1 == new & 6",
        "allow write kernel.sysrq if new & 6 != 8",
        "allow write kernel.sysrq if new & 6 == -1",
        "allow write kernel.sysrq if new & 6 > 6",
        "allow write kernel.sysrq if 7 <= new & 6",
        "allow write kernel.sysrq if new & 6 < 7",
        "allow write kernel.sysrq if new & 6 >= 0",
        "allow write kernel.sysrq if new & 12 in 1..3",
        "allow write kernel.sysrq if new & 12 in 0..12",
        "allow write kernel.sysrq if not new & 12 in {1, 2..3, 16..}",
        "deny write kernel.sysrq if old & 8 == 1",
        "allow write net.ipv4.tcp_rmem if each(new) & 6 == 1",
        // These can go either way.
        "allow write kernel.sysrq if new & 6 == 2",
        "allow write kernel.sysrq if new & 6 == 0 and new & 8 in {1, 8}",
        "allow write kernel.sysrq if new & 12 in 3..5",
        "allow write kernel.sysrq if 1 < new & 6 < 6",
    ]));
}

#[test]
fn rules_that_another_name_gets_around() {
    insta::assert_snapshot!(table(&[
        "default write allow\ndeny write net.ipv4.ip_forward",
        "default write allow\ndeny write net.ipv4.conf.all.forwarding",
        "deny write net.ipv4.ip_forward\nallow write net.ipv4.**",
        "allow write net.ipv4.conf.*.forwarding\ndeny write net.ipv4.ip_forward",
        "allow write net.ipv4.ip_forward if new == 0\nallow write net.ipv4.conf.all.*",
        "clamp write net.ipv4.{ip_forward,tcp_sack} to 0..0\ndefault write allow",
        "deny write net.ipv4.conf.eth0.forwarding\nallow write net.**",
        "deny write net.ipv4.conf.lxc*.forwarding\nallow write net.**",
        "deny write vm.dirty_bytes\nallow write vm.**",
        // The other name is restricted, too.
        "default write allow\ndeny write net.ipv4.ip_forward, net.ipv4.conf.all.forwarding",
        "deny write net.ipv4.ip_forward",
        "allow write net.ipv4.ip_forward",
        "allow write net.ipv4.ip_forward if new == 0\nallow write net.ipv4.conf.all.forwarding if new == 0",
        "deny write net.ipv4.conf.*.forwarding, net.ipv4.ip_forward\nallow write net.**",
        "clamp write vm.dirty_bytes to 4096..1_000_000\nclamp write vm.dirty_ratio to 5..40",
        // It is an exception from a rule about everything.
        "allow write net.ipv4.conf.all.forwarding\ndeny write net.ipv4.**\ndefault write allow",
        // The name itself may be written.
        "allow write net.ipv4.ip_forward if new == 0\nallow write net.**",
        "deny read net.ipv4.ip_forward\nallow write net.**",
    ]));
}

#[test]
fn strange_files() {
    let mut table = String::new();
    for text in [
        "policy x\r\nallow read a.b\r\nallow read a.c # c\r\n",
        "\u{feff}policy x\nallow read a.b\n",
        "policy x\nallow read a.b \u{a0}\n",
        "policy x\nallow read \u{201c}a.b\u{201d}\n",
        "policy x\rallow read a.b\n",
        "policy x\n\0\0\0\nallow read a.b\0\n",
    ] {
        writeln!(table, "{text:?}\n{}", rendered(text)).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_file_that_is_not_utf8_is_one_error() {
    let source = Source::from_bytes("x", b"policy x\n# \xff\xfe\nalow");
    let error = parse(source, &CheckOptions::default()).unwrap_err();
    let errors = error.diagnostics();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].code, errors[0].severity), ("not-utf8", Severity::Error));
    assert_eq!(errors[0].primary.span.start, 11);
}

#[test]
fn the_number_of_errors_is_limited() {
    let error = parse(Source::new("x", "banana\n".repeat(5000)), &CheckOptions::default()).unwrap_err();
    let errors = error.diagnostics();
    assert_eq!(errors.len(), 1001);
    assert_eq!(errors.last().unwrap().code, "too-many-errors");
}

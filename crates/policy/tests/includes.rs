//! `include`: what it means, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use knobgate_policy::{
    Access, CheckOptions, Diagnostic, IncludeError, IncludeLoader, IncludedText, KnobName, ParseError,
    PolicyFile, Severity, Source, Verdict, evaluate, format, limits, parse, presets,
};

/// Files by name, all in one directory.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl IncludeLoader for Files {
    fn policy_id(&self) -> Option<PathBuf> {
        Some("x.knob".into())
    }

    fn load(&self, name: &str, _: Option<&Path>, most: usize) -> Result<IncludedText, IncludeError> {
        let id = name.trim_start_matches("./");
        let Some(bytes) = self.0.get(id) else {
            let (name, error) = (name.to_owned(), "there is no such file".into());
            return Err(IncludeError::Unreadable { name, error });
        };
        if bytes.len() > most {
            return Err(IncludeError::TooLarge { name: name.to_owned() });
        }
        Ok(IncludedText::new(name, name, bytes.as_slice()).with_id(id))
    }
}

fn files(files: &[(&str, &str)]) -> Files {
    Files(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
}

fn parse_with(text: &str, files: &Files) -> Result<PolicyFile, ParseError> {
    parse(Source::new("x.knob", text), &CheckOptions::default().includes(files))
}

/// Every diagnostic of `text`, rendered at its place in its file.
fn rendered(text: &str, files: &Files) -> String {
    match parse_with(text, files) {
        Ok(file) => render_all(file.warnings(), file.source()),
        Err(error) => render_all(error.diagnostics(), error.text()),
    }
}

fn render_all(diagnostics: &[Diagnostic], source: &Source) -> String {
    let mut rendering = String::new();
    for diagnostic in diagnostics {
        let Diagnostic { severity, code, message, .. } = diagnostic;
        writeln!(rendering, "{severity}[{code}]: {message}").unwrap();
        for (label, mark) in std::iter::once((&diagnostic.primary, '^'))
            .chain(diagnostic.secondary.iter().map(|label| (label, '-')))
        {
            let (file, span) = source.locate(label.span);
            let (line, column) = file.line_column(span.start);
            let width = file.slice(span).chars().count().max(1);
            writeln!(rendering, "{}:{line}:{column} | {}", file.name(), file.line_text(line)).unwrap();
            let indent = file.name().len() + format!(":{line}:{column} | ").len() + column - 1;
            let marks = mark.to_string().repeat(width);
            writeln!(rendering, "{}{marks} {}", " ".repeat(indent), label.text).unwrap();
        }
        if let Some(help) = &diagnostic.help {
            writeln!(rendering, "  help: {help}").unwrap();
        }
        if let Some(suggestion) = &diagnostic.suggestion {
            let (file, span) = source.locate(suggestion.span);
            let mut fixed = file.text().to_owned();
            fixed.replace_range(span.range(), &suggestion.replacement);
            let fixed = Source::new("", fixed);
            let line = fixed.line_text(fixed.line(span.start)).to_owned();
            writeln!(rendering, "  try {}: {line}", file.name()).unwrap();
        }
    }
    let lines: Vec<_> = rendering.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The code of each diagnostic.
fn codes(text: &str, files: &Files) -> Vec<&'static str> {
    let error = parse_with(text, files).unwrap_err();
    error.diagnostics().iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn included_rules_stand_where_they_are_included() {
    let files = files(&[
        ("first.knob", "deny write vm.a\ninclude \"nested.knob\"\ndeny write vm.c"),
        ("nested.knob", "deny(EBUSY) write vm.b if new == 1\r\n"),
    ]);
    let text = "policy x\nallow write vm.0\n  include \"first.knob\"  # all of it\nallow write vm.*\n";
    let file = parse_with(text, &files).unwrap();
    let rules: Vec<_> = file.policy().rules().iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "allow write vm.0",
            "deny write vm.a",
            "deny(EBUSY) write vm.b if new == 1",
            "deny write vm.c",
            "allow write vm.*"
        ]
    );
    let places: Vec<_> = (0..5).map(|rule| file.rule_place(rule).unwrap().to_string()).collect();
    assert_eq!(places, ["x.knob:2", "first.knob:1", "nested.knob:1", "first.knob:3", "x.knob:4"]);
    assert_eq!(
        file.source().text(),
        "policy x\nallow write vm.0\n#   include \"first.knob\"  # all of it\ndeny write vm.a\n# include \"nested.knob\"\n\
         deny(EBUSY) write vm.b if new == 1\r\n# end of include \"nested.knob\", lines: 1\ndeny write vm.c\n\
         # end of include \"first.knob\", lines: 5\nallow write vm.*\n"
    );
}

#[test]
fn the_text_means_the_same_without_its_files() {
    let files = files(&[
        (
            "rules.knob",
            "\u{feff}clamp write vm.a to 1..5\ntest \"bounds\" {\n  write vm.a \"9\\n\" => set \"5\\n\"\n}",
        ),
        ("empty.knob", ""),
        ("comment.knob", "# nothing"),
    ]);
    for text in [
        "policy x\ninclude \"rules.knob\"",
        "policy x\r\ninclude \"rules.knob\"\r\nallow write vm.b\r\n",
        "policy x\ninclude \"empty.knob\"\ninclude \"comment.knob\"\ninclude \"rules.knob\"\ninclude \"empty.knob\"\n",
        "policy x\ninclude preset \"docker-runtime@1\"\ninclude \"rules.knob\"\nmode audit\n",
    ] {
        let file = parse_with(text, &files).unwrap();
        let alone = parse(Source::new("x", file.source().text()), &CheckOptions::default()).unwrap();
        assert!(!alone.source().includes_others());
        assert_eq!(alone.policy(), file.policy(), "{text:?}");
        assert_eq!(file.policy().tests().len(), 1);
    }
}

#[test]
fn the_place_of_everything_is_its_place_in_its_file() {
    let files = files(&[("a.knob", "# é\nallow write vm.\u{e9}, vm.b"), ("b.knob", "\n\nallow read vm.q\n")]);
    let text = "policy x\ninclude \"a.knob\"\ndeny write vm.c\ninclude \"b.knob\"";
    let file = parse_with(text, &files).unwrap();
    let source = file.source();
    for (name, text) in
        [("x.knob", text), ("a.knob", "allow write vm.\u{e9}, vm.b"), ("b.knob", "allow read vm.q")]
    {
        for word in text.split_whitespace().filter(|word| *word != "include" && !word.contains('"')) {
            let offset = source.text().find(word).unwrap();
            let span = knobgate_policy::Span::new(offset, offset + word.len());
            let (found, place) = source.locate(span);
            assert_eq!(found.slice(place), word, "{name}");
        }
    }
    let included = source.text().find("include \"b.knob\"").unwrap();
    let place = source.place(included);
    assert_eq!((place.name, place.line, place.column), ("x.knob", 4, 1));
    let end = source.text().find("# end of include \"b.knob\"").unwrap();
    assert_eq!(source.place(end).to_string(), "x.knob:4");
}

#[test]
fn mistakes_in_included_files_are_shown_there() {
    let files = files(&[
        ("broken.knob", "alow write vm.a\nallow write vm.b if (new == 1"),
        ("outer.knob", "include \"broken.knob\"\n"),
        (
            "policy.knob",
            "policy y\nmode audit\ndefault write allow\nwidth 64 vm.a\napply if namespace == \"x\"\nallow write vm.z\n",
        ),
        ("test.knob", "test \"x\" {\n  write vm.a \"1\" => deny\n"),
        ("empty-range.knob", "clamp write vm.swappiness to 60..0\n"),
        ("shadow.knob", "allow write vm.a\nallow write vm.a\n"),
    ]);
    let mut table = String::new();
    for name in ["outer.knob", "policy.knob", "test.knob", "empty-range.knob", "shadow.knob"] {
        let text = format!("policy x\ninclude \"{name}\"\nallow write vm.q\n");
        writeln!(table, "{}\n", rendered(&text, &files)).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn mistakes_in_statements() {
    let files = files(&[("a.knob", "allow write vm.a\n"), ("b.json", "{}")]);
    let mut table = String::new();
    for line in [
        "include",
        "include preset",
        "include a.knob",
        "include <a.knob>  # why",
        "include 'a.knob'",
        "include \"\"",
        "include \"a\\xff\"",
        "include \"a.knob\" allow write vm.b",
        "include \"a.knob\", \"a.knob\"",
        "include \"missing.knob\"",
        "include \"x.knob\"",
        "include \"b.json\"",
        "include preset docker-runtime@1",
        "include preset \"docker-runtime\"",
        "include preset \"docker-runtime@7\"",
        "include preset \"docker-runtme@1\"",
        "include preset \"banana@1\"",
        "include \"docker-runtime@1\"",
        "inlcude \"a.knob\"",
        "import \"a.knob\"",
        "test \"x\" {\n  include \"a.knob\"\n}",
    ] {
        let rendering = rendered(&format!("policy x\n{line}\n"), &files);
        assert!(rendering.contains("error["), "{line}: {rendering}");
        writeln!(table, "{rendering}\n").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn nothing_on_the_line_of_a_statement_gets_lost() {
    let files = files(&[
        ("a.knob", "allow write vm.a\n"),
        ("outer.knob", "include \"a.knob\" deny write kernel.core_pattern\n"),
    ]);
    for text in [
        "policy x\ninclude \"a.knob\" deny write kernel.core_pattern\n",
        "policy x\ninclude \"a.knob\", \"b.knob\"\n",
        "policy x\ninclude preset \"docker-runtime@1\" include \"a.knob\"\n",
        "policy x\ninclude \"outer.knob\"\n",
    ] {
        assert_eq!(codes(text, &files), ["unexpected"], "{text}");
    }
}

#[test]
fn suggested_fixes_leave_no_error() {
    let files = files(&[("a.knob", "allow write vm.a\n")]);
    for line in [
        "include a.knob",
        "include <a.knob>  # why",
        "include 'a.knob'",
        "include preset docker-runtime@1",
        "include preset \"docker-runtime\"",
        "include preset \"docker-runtme@1\"",
        "include \"docker-runtime@1\"",
        "inlcude \"a.knob\"",
        "import \"a.knob\"",
    ] {
        let text = format!("policy x\n{line}\n");
        let error = parse_with(&text, &files).unwrap_err();
        let suggestion = error.diagnostics()[0].suggestion.clone().unwrap_or_else(|| panic!("{line}"));
        let (file, span) = error.text().locate(suggestion.span);
        assert_eq!(file.text(), text);
        let mut fixed = text.clone();
        fixed.replace_range(span.range(), &suggestion.replacement);
        parse_with(&fixed, &files).unwrap_or_else(|error| panic!("{fixed}: {error}"));
    }
}

#[test]
fn a_text_in_no_file_includes_presets_alone() {
    let options = CheckOptions::default();
    let error = parse(Source::new("<stdin>", "policy x\ninclude \"a.knob\"\n"), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "<stdin>:2:9: no file can be included here; a policy in a file can include others, by paths relative to it; \
         presets can be included everywhere"
    );
    let text = "policy x\ninclude preset \"docker-runtime@1\"\n";
    assert!(parse(Source::new("<stdin>", text), &options).is_ok());
}

#[test]
fn files_that_include_each_other_are_errors() {
    let cyclic = files(&[("a.knob", "include \"./b.knob\"\n"), ("b.knob", "include \"./a.knob\"\n")]);
    assert_eq!(codes("policy x\ninclude \"a.knob\"\n", &cyclic), ["include-cycle"]);
    // Twice beside each other is none: only tests of the same name are.
    let twice = files(&[("a.knob", "allow write vm.a if new == 1\n")]);
    let file = parse_with("policy x\ninclude \"a.knob\"\ninclude \"a.knob\"\n", &twice).unwrap();
    assert_eq!(file.policy().rules().len(), 2);
}

#[test]
fn depth_number_and_size_have_limits() {
    let chain = |length: usize| {
        let texts = (0..length).map(|i| (format!("{i}"), format!("include \"{}\"\n", i + 1).into_bytes()));
        Files(texts.chain([(format!("{length}"), b"allow write vm.a\n".to_vec())]).collect())
    };
    let text = "policy x\ninclude \"0\"\n";
    assert!(parse_with(text, &chain(limits::INCLUDE_DEPTH_MAX - 1)).is_ok());
    assert_eq!(codes(text, &chain(limits::INCLUDE_DEPTH_MAX)), ["include-too-deep"]);

    // Each file includes the next one many times: 20⁷ files in all.
    let bomb = Files(
        (0..9)
            .map(|i| (format!("{i}"), format!("include \"{}\"\n", i + 1).repeat(20).into_bytes()))
            .collect(),
    );
    assert!(codes(text, &bomb).contains(&"too-many-includes"));

    let mut large = files(&[]);
    large.0.insert("large".into(), vec![b'#'; limits::FILE_MAX / 3]);
    assert!(parse_with("policy x\ninclude \"large\"\ninclude \"large\"\n", &large).is_ok());
    let thrice = "policy x\ninclude \"large\"\ninclude \"large\"\ninclude \"large\"\n";
    assert_eq!(codes(thrice, &large), ["include-too-large"]);
}

#[test]
fn an_included_file_that_is_not_utf8_is_an_error_there() {
    let mut binary = files(&[]);
    binary.0.insert("a.knob".into(), b"# caf\xe9\n".to_vec());
    let error = parse_with("policy x\ninclude \"a.knob\"\n", &binary).unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    assert_eq!(
        error.to_string(),
        "a.knob:1:6: the file is not UTF-8; in a text, other bytes are written `\\xHH`"
    );
}

#[test]
fn statements_are_formatted_and_stay() {
    let text = "policy x\ninclude   \"a.knob\"# why\ninclude  preset   \"docker-runtime@1\"\n";
    let expected = "policy x\ninclude \"a.knob\"  # why\ninclude preset \"docker-runtime@1\"\n";
    assert_eq!(format(&Source::new("x", text)).unwrap(), expected);
    // What is included has no header.
    let part = "allow   write vm.a\n";
    assert_eq!(format(&Source::new("x", part)).unwrap(), "allow write vm.a\n");
}

#[test]
fn a_policy_without_header_that_includes_is_an_error_at_the_statement() {
    let files = files(&[("a.knob", "allow write vm.a\n")]);
    insta::assert_snapshot!(rendered("# x\ninclude \"a.knob\"\nmode audit\n", &files), @r#"
    error[missing-header]: a policy begins with its name
    x.knob:2:1 | include "a.knob"
                 ^ expected `policy NAME` before this
      help: add a first line such as `policy web-tier`
      try x.knob: policy NAME
    "#);
}

#[test]
fn nothing_is_reported_about_what_a_preset_has() {
    let files = files(&[]);
    let knobs = [KnobName::parse("vm.swappiness").unwrap()];
    for preset in presets::all() {
        let text = format!("policy x\ndeny write **\ninclude preset \"{preset}\"\n");
        let options = CheckOptions::default().includes(&files).knobs(&knobs);
        let file = parse(Source::new("x.knob", text), &options).unwrap();
        assert_eq!(file.warnings(), [], "{preset}");
        assert!(file.policy().tests().is_empty());
    }
    // What hides a rule of one's own is said.
    let text = "policy x\ninclude preset \"docker-runtime@1\"\nallow write net.ipv4.ip_unprivileged_port_start if new == 0\n";
    let file = parse_with(text, &files).unwrap();
    assert!(file.warnings().iter().all(|warning| warning.severity == Severity::Warning));
}

#[test]
fn an_earlier_rule_is_an_exception_to_a_preset() {
    let text =
        "policy x\ndefault write allow\nallow write kernel.modprobe\ninclude preset \"usermode-helpers@1\"\n";
    let file = parse_with(text, &files(&[])).unwrap();
    let verdict =
        |knob: &str| evaluate(file.policy(), &Access::write(KnobName::parse(knob).unwrap(), "1\n")).verdict;
    assert_eq!(verdict("kernel.modprobe"), Verdict::Allow);
    assert!(matches!(verdict("kernel.hotplug"), Verdict::Deny(_)));
}

#[test]
fn a_program_has_the_places_in_its_text() {
    let files = files(&[
        ("a.knob", "deny write vm.a\ninclude \"b.knob\"\n\ndeny write vm.c"),
        ("b.knob", "# include \"a.knob\"\r\ndeny write vm.b\r\n"),
    ]);
    let text = "policy x\n# include \"a.knob\"\nallow write vm.0\n  include \"a.knob\"  # why\ninclude preset \"docker-runtime@1\"\n\
                allow write vm.1\n";
    let file = parse_with(text, &files).unwrap();
    let restored = Source::new("x.knob", file.source().text()).with_restored_includes();
    for rule in 0..file.policy().rules().len() {
        let start = file.rule_span(rule).unwrap().start;
        assert_eq!(restored.place(start), file.source().place(start));
        assert_eq!(restored.own_place(start), file.source().own_place(start));
        assert_eq!(restored.own_place(start).name, "x.knob");
    }
    let own_lines = |source: &Source| -> Vec<usize> {
        (0..7).map(|rule| source.own_place(file.rule_span(rule).unwrap().start).line).collect()
    };
    assert_eq!(own_lines(&restored), [3, 4, 4, 4, 5, 5, 6]);
}

#[test]
fn the_text_of_a_program_has_what_is_included_and_not_what_it_applies_to() {
    let files = files(&[("a.knob", "deny write vm.a\n")]);
    let text = "policy x\napply if namespace == \"prod\"\ninclude \"a.knob\"\nallow write vm.b\napply if engine == docker\n";
    let file = parse_with(text, &files).unwrap();
    assert_eq!(file.apply_if_place(1).unwrap().to_string(), "x.knob:5");
    let program = file.program_text();
    assert_eq!(
        program,
        "policy x\n\n# include \"a.knob\"\ndeny write vm.a\n# end of include \"a.knob\", lines: 1\nallow write vm.b\n\n"
    );
    let alone =
        parse(Source::new("x.knob", program).with_restored_includes(), &CheckOptions::default()).unwrap();
    assert_eq!(alone.policy().rules(), file.policy().rules());
    assert_eq!(alone.rule_place(1).unwrap().to_string(), "x.knob:4");
}

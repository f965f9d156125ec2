//! The page in a browser: Debian's `chromium`, driven by `chromium-driver`.
//!
//! Where they are not installed, the tests are reported as *ignored*, with the reason; with `KNOBGATE_REQUIRE_BROWSER=1` they fail
//! instead.

#[path = "../common/mod.rs"]
mod common;
mod webdriver;

use std::path::Path;
use std::process::ExitCode;

use common::{HOSTILE, event, hostile, item, lost, page, report, suppressed};
use knobgate_report::{Aggregator, Head, Report};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use webdriver::Browser;

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";

type Test = (&'static str, fn(&Browser) -> Result<(), Failed>);

const TESTS: &[Test] = &[
    ("a_page_can_be_used_with_the_mouse_and_the_keyboard", a_page_can_be_used),
    ("hostile_names_are_text", hostile_names_are_text),
    ("a_page_without_events_has_no_errors", a_page_without_events_has_no_errors),
    ("the_page_of_a_million_events_opens", the_page_of_a_million_events_opens),
];

fn main() -> ExitCode {
    let missing = [DRIVER, BROWSER].into_iter().find(|path| !Path::new(path).exists());
    let is_required = std::env::var("KNOBGATE_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
    let trial = |&(name, test): &Test| {
        let run = move || test(&Browser::start(Path::new(DRIVER), Path::new(BROWSER))?);
        match missing {
            None => Trial::test(name, run),
            Some(path) if is_required => Trial::test(name, move || Err(format!("there is no {path}").into())),
            Some(path) => {
                let why = format!("ignored: there is no {path} (chromium, chromium-driver)");
                Trial::test(name, run).with_kind(why).with_ignored_flag(true)
            }
        }
    };
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

/// Opens the page of a report.
fn open(browser: &Browser, report: &Report) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report.html");
    std::fs::write(
        &path,
        page(report, &Head { sources: HOSTILE.map(str::to_owned).to_vec(), ..Head::default() }),
    )?;
    Ok(browser.open(&path)?)
}

/// Fails unless this expression has this value in the page.
fn expect(browser: &Browser, expression: &str, expected: impl Into<Value>) -> Result<(), Failed> {
    let (found, expected) = (browser.run(&format!("return {expression}"))?, expected.into());
    if found == expected { Ok(()) } else { Err(format!("{expression} is {found}, not {expected}").into()) }
}

fn expect_empty_log(browser: &Browser) -> Result<(), Failed> {
    let log = browser.log()?;
    if log.is_empty() { Ok(()) } else { Err(format!("the browser logged: {}", log.join("\n")).into()) }
}

/// Two knobs in two workloads: one of them with numbers, and rewritten ones.
fn small() -> Report {
    let mut lines: Vec<Value> = (0..10).map(event).collect();
    for second in 10..40 {
        let mut line = event(second);
        line["knob"] = json!({ "text": "net/core/somaxconn" });
        line["cgroup"] = json!({ "id": 2, "path": "/sys/fs/cgroup/batch" });
        line["rule"] = json!({ "index": 1, "line": 8, "text": { "text": "clamp write net.core.somaxconn to 128..65535" } });
        line["verdict"] = "rewrite".into();
        line["old"] = json!({ "text": format!("{}\n", second * 100) });
        line["new"] = json!({ "text": "9999999\n" });
        line["stored"] = json!({ "text": "65535\n\n\n" });
        line.as_object_mut().expect("an object").remove("errno");
        lines.push(line);
    }
    let mut large = lines[39].clone();
    large["old"] = json!({ "text": "010\n" });
    large["stored"] = json!({ "text": "9223372036854775807\n" });
    lines.push(large);
    lines.extend([suppressed(50, 7), lost(51, 3)]);
    report(&lines)
}

/// How many rows of the examples are shown.
const SHOWN: &str = "document.querySelectorAll('#examples-table tbody tr:not([hidden])').length";
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const DOWN: &str = "\u{e015}";

fn a_page_can_be_used(browser: &Browser) -> Result<(), Failed> {
    for (scheme, back) in [("light", "rgb(253, 253, 252)"), ("dark", "rgb(20, 24, 28)")] {
        browser.prefer(scheme)?;
        open(browser, &small())?;
        expect(browser, "getComputedStyle(document.body).backgroundColor", back)?;
        expect(browser, "document.querySelectorAll('section[hidden]').length", 0)?;
        expect(browser, "document.querySelector('h1').textContent", "41 events, 10 denied")?;

        // The timeline has a column for each bucket, and loses the bars of an outcome that is not shown.
        let bars = "document.querySelectorAll('#timeline-chart rect.fill-denied').length";
        let before = browser.run(&format!("return {bars}"))?;
        assert!(before.as_u64() > Some(0), "{before}");
        browser.click("#timeline fieldset input")?;
        expect(browser, bars, 0)?;
        browser.press(" ")?;
        expect(browser, bars, before)?;
        browser.click("#timeline summary")?;
        expect(browser, "document.querySelector('#timeline-table tbody th').scope", "row")?;

        // A knob is chosen in the matrix by the keyboard: Enter on its name shows its values, and the focus goes there.
        expect(browser, "document.querySelectorAll('#matrix-table tbody tr').length", 2)?;
        browser.run("document.querySelectorAll('#matrix-table button')[1].focus()")?;
        let caption = "document.querySelector('#values-table caption').textContent";
        expect(browser, caption, "Values of net.core.somaxconn")?;
        browser.press(ENTER)?;
        expect(browser, caption, "Values of kernel.core_pattern")?;
        expect(browser, "document.activeElement.id", "values-choice")?;
        // It is a list of choices: the next one is one key away.
        browser.press(DOWN)?;
        expect(browser, caption, "Values of net.core.somaxconn")?;
        expect(browser, "document.querySelectorAll('#values-chart .mark-rewritten').length", 31)?;
        let says = "document.querySelector('#values [role=status]').textContent";
        expect(browser, says, "31 changes of net.core.somaxconn shown")?;
        // Numbers are those that the kernel reads, whatever their notation and size.
        let labels = "[...document.querySelectorAll('#values-chart text[text-anchor=end]')].map((text) => text.textContent).join(' ')";
        let found = browser.run(&format!("return {labels}"))?;
        let found = found.as_str().unwrap_or_default();
        assert!(
            found.contains("9,223,372,036,854,775,807") && found.split(' ').any(|label| label == "8"),
            "{found}"
        );

        // Rows are sorted by a button in their column, with the mouse and with the keyboard.
        expect(browser, SHOWN, 2)?;
        let first = "document.querySelector('#examples-table tbody .number').textContent";
        let sorted = "document.querySelectorAll('#examples-table thead th')[4].ariaSort";
        expect(browser, first, "10")?;
        browser.click("#examples-table thead th:nth-child(5) button")?;
        expect(browser, sorted, "descending")?;
        expect(browser, first, "31")?;
        browser.press(ENTER)?;
        expect(browser, sorted, "ascending")?;
        expect(browser, first, "10")?;

        // Words and an outcome choose among them. From one to the other leads Tab.
        browser.type_into("#examples-filter", "batch CLAMP")?;
        expect(browser, SHOWN, 0)?;
        browser.run("const filter = document.getElementById('examples-filter'); filter.value = ''")?;
        browser.type_into("#examples-filter", "batch somaxconn")?;
        expect(browser, SHOWN, 1)?;
        expect(browser, "document.querySelector('#examples [role=status]').textContent", "1 of 2 shown")?;
        browser.press(&format!("{TAB}{DOWN}"))?;
        expect(browser, "document.activeElement.value", "denied")?;
        expect(browser, SHOWN, 0)?;

        // Everything has a name, and headings are in their order.
        let unnamed = "[...document.querySelectorAll('section, table, select, input, svg[role], [role=region]')].filter((found) => \
            !(found.ariaLabel || found.labels?.length || found.caption || found.getAttribute('aria-labelledby'))).length";
        expect(browser, unnamed, 0)?;
        expect(browser, "document.querySelectorAll('th:not([scope])').length", 0)?;
        expect(
            browser,
            "[...document.querySelectorAll('h1, h2, h3')].map((heading) => heading.tagName).join('')",
            "H1H2H2H2H2H2H2",
        )?;
        expect(browser, "document.documentElement.scrollWidth <= innerWidth", true)?;
        expect_empty_log(browser)?;
    }
    Ok(())
}

fn hostile_names_are_text(browser: &Browser) -> Result<(), Failed> {
    let lines: Vec<Value> = (0..).zip(HOSTILE).map(|(second, text)| hostile(second, text)).collect();
    open(browser, &report(&lines))?;
    let count = HOSTILE.len();
    expect(browser, "document.title", format!("{count} events, {count} denied · knobgate report"))?;
    expect(browser, "document.querySelectorAll('script').length", 2)?;
    expect(browser, "document.querySelectorAll('img, iframe, object, link, base, form').length", 0)?;
    expect(browser, SHOWN, count)?;
    let texts = browser.run("return document.getElementById('examples-table').textContent")?;
    let texts = texts.as_str().unwrap_or_default();
    for text in [
        "</script><script>document.title='owned'</script>",
        "<!--<script>",
        "\\u{202e}gnp.exe\\u{2066}",
        "__proto__",
    ] {
        assert!(texts.contains(text), "{text} is not in {texts}");
    }
    let is_hidden = |c: char| knobgate_events::terminal::is_interpreted(c);
    assert!(!texts.contains(is_hidden), "{texts:?}");
    // The check itself: a script that is not the page's is not run, and that is logged.
    browser.run("document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = 1' }))")?;
    expect(browser, "document.title", format!("{count} events, {count} denied · knobgate report"))?;
    let log = browser.log()?;
    assert!(log.len() == 1 && log[0].contains("Content Security Policy"), "{log:?}");
    Ok(())
}

fn a_page_without_events_has_no_errors(browser: &Browser) -> Result<(), Failed> {
    open(browser, &report(&[]))?;
    expect(browser, "document.querySelector('h1').textContent", "No events")?;
    expect(browser, "document.querySelectorAll('section[hidden]').length", 0)?;
    expect_empty_log(browser)
}

/// All events differ, so that every list is full.
fn the_page_of_a_million_events_opens(browser: &Browser) -> Result<(), Failed> {
    let mut aggregator = Aggregator::new();
    let mut item = item(&event(0));
    for number in 0..1_000_000u64 {
        let knobgate_events::StreamContent::Event(event) = &mut item.content else {
            unreachable!("it is an event")
        };
        event.event.knob.bytes = format!("net/ipv4/conf/interface{}/x", number % 50_000).into_bytes();
        event.event.boot_time = number * 10_000_000;
        event.event.cgroup_id = number % 7_000;
        event.event.new.get_or_insert_default().bytes = format!("{number}\n").into_bytes();
        item.context.cgroup_path = Some(format!("/sys/fs/cgroup/{}", number % 7_000).into_bytes());
        item.time =
            Some(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_795_900_000_000 + number * 10));
        aggregator.add(&item);
    }
    open(browser, &aggregator.finish())?;
    expect(browser, "document.readyState", "complete")?;
    expect(browser, "document.querySelector('h1').textContent", "1,000,000 events, 1,000,000 denied")?;
    expect(browser, SHOWN, 500)?;
    expect(browser, "document.querySelectorAll('#matrix-table tbody tr').length", 61)?;
    expect(browser, "document.querySelector('#matrix-table tbody tr:last-child th').textContent", "other")?;
    expect_empty_log(browser)
}

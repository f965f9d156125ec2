use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use crate::{knobgate, snapshot, tree};

/// A file of a tree.
type File = (&'static str, &'static str);

fn drift(root: &Path) -> Output {
    knobgate(["drift", "--root", root.to_str().unwrap()]).output().unwrap()
}

/// What it prints, with the path of the tree left out. On standard error, only errors and notes on files.
fn printed(root: &Path) -> (String, String, Option<i32>) {
    let output = drift(root);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(root.to_str().unwrap(), "");
    let errors = text(&output.stderr);
    let errors: Vec<&str> = errors
        .lines()
        .filter(|line| !line.contains("attached policies") && !line.contains("namespace"))
        .collect();
    (text(&output.stdout), errors.join("\n"), output.status.code())
}

#[test]
fn every_state_of_a_knob_is_shown() {
    let root = tree(&[(
        "etc/sysctl.d/web.conf",
        "kernel.ostype = BSD\n\
         kernel/ngroups_max = 0x10000\n\
         -kernel.cap_last_cap = 0\n\
         kernel.no_such_knob = 1\n\
         -kernel.no_such_knob_either = 1\n\
         kernel.no_such_* = 1\n\
         vm.drop_caches = 3\n\
         net.ipv4.tcp_fastopen_key = 1-2-3-4\n\
         net.ipv4.tcp_fastopen_key 1-2-3-4\n\
         kernel.os\u{202e} = \u{1b}[31m\n\
         kernel.no_such_knob_at_all =\n",
    )]);
    let (text, errors, status) = printed(root.path());
    let running = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    let expected = format!(
        "/etc/sysctl.d/web.conf:3: kernel.cap_last_cap = 0
  running {running}  no event says who wrote it
  with `-`: that it cannot be written is no error
/etc/sysctl.d/web.conf:1: kernel.ostype = BSD
  running Linux
  no event says who wrote it
/etc/sysctl.d/web.conf:4: kernel.no_such_knob = 1
  there is no such knob on this machine
/etc/sysctl.d/web.conf:11: kernel.no_such_knob_at_all = (empty)
  there is no such knob on this machine
/etc/sysctl.d/web.conf:10: kernel.os\\u{{202e}} = \\x1b[31m
  there is no such knob on this machine
/etc/sysctl.d/web.conf:8: net.ipv4.tcp_fastopen_key = (a secret)
  not compared: its values are secret
/etc/sysctl.d/web.conf:7: vm.drop_caches = 3
  not compared: the knob is write-only
/etc/sysctl.d/web.conf:6: kernel.no_such_*
  matches no knob of this machine
1 file, 9 knobs: 1 as configured, 2 different, 4 not on this machine, 1 write-only, 1 secret; 1 glob without a knob
"
    );
    assert_eq!(text, expected);
    let error = "error: /etc/sysctl.d/web.conf:9: this line is wrong, and is not shown because it names a knob whose values are secret";
    assert_eq!((errors.as_str(), status), (error, Some(1)));
}

#[test]
fn files_are_read_as_systemd_sysctl_reads_them() {
    const WRONG: &str = "kernel.ostype = BSD\n";
    const RIGHT: &str = "kernel.ostype = Linux\n";
    let summary =
        |files: &[File]| printed(tree(files).path()).0.lines().last().unwrap_or_default().to_owned();
    const SAME: &str = "1 knob: 1 as configured";
    const DIFFERENT: &str = "1 knob: 1 different";
    for (files, expected) in [
        (&[][..], "0 files, 0 knobs".to_owned()),
        // The name decides, whatever the directory.
        (&[("etc/sysctl.d/1.conf", WRONG), ("usr/lib/sysctl.d/2.conf", RIGHT)], format!("2 files, {SAME}")),
        (
            &[("etc/sysctl.d/2.conf", WRONG), ("usr/lib/sysctl.d/1.conf", RIGHT)],
            format!("2 files, {DIFFERENT}"),
        ),
        // Of one name, only the first directory is read.
        (
            &[("run/sysctl.d/1.conf", RIGHT), ("usr/local/lib/sysctl.d/1.conf", WRONG)],
            format!("1 file, {SAME}"),
        ),
        (&[("etc/sysctl.d/1.conf", ""), ("lib/sysctl.d/1.conf", WRONG)], "1 file, 0 knobs".to_owned()),
        (
            &[("etc/sysctl.d/1.conf.bak", WRONG), ("etc/sysctl.d/README", WRONG)],
            "0 files, 0 knobs".to_owned(),
        ),
    ] {
        assert_eq!(summary(files), expected, "{files:?}");
    }
}

#[test]
fn hidden_files_are_not_read_and_other_names_are() {
    let root = tree(&[
        ("etc/sysctl.d/.hidden.conf", "kernel.ostype = BSD\n"),
        ("etc/sysctl.d/1.conf", "kernel.ostype = AIX\n"),
    ]);
    let directory = root.path().join("etc/sysctl.d");
    fs::write(directory.join(OsStr::from_bytes(b"2-\xff.conf")), "kernel.ostype = Linux\n").unwrap();
    assert_eq!(printed(root.path()).0, "2 files, 1 knob: 1 as configured\n");
    let output = knobgate(["drift", directory.to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 files, 1 knob: 1 as configured\n");
}

#[test]
fn nothing_is_waited_for_that_is_no_file() {
    let root = tree(&[("etc/sysctl.d/50-web.conf", "vm.swappiness = 1\n")]);
    let directory = root.path().join("etc/sysctl.d");
    for name in ["10-pipe.conf", "target"] {
        assert!(std::process::Command::new("mkfifo").arg(directory.join(name)).status().unwrap().success());
    }
    symlink("target", directory.join("20-link.conf")).unwrap();
    let (text, errors, status) = printed(root.path());
    assert!(text.contains("50-web.conf:1: vm.swappiness = 1"), "{text}{errors}{status:?}");
}

#[test]
fn links_stay_inside_of_the_root() {
    let root = tree(&[
        ("etc/sysctl.conf", "kernel.ostype = Linux\n"),
        ("usr/lib/sysctl.d/1.conf", "kernel.ostype = BSD\n"),
        ("usr/lib/sysctl.d/2.conf", "kernel.ostype = BSD\n"),
    ]);
    let directory = root.path().join("etc/sysctl.d");
    fs::create_dir(&directory).unwrap();
    let (_, errors, status) = printed(root.path());
    let note = "note: /etc/sysctl.conf is not read: no file of sysctl.d is a link to it, and systemd-sysctl reads only these; \
                `sysctl --system` would read it after them";
    assert_eq!((errors.as_str(), status), (note, Some(1)));

    // As Debian has it, with an absolute link too; and what is masked.
    symlink("../sysctl.conf", directory.join("99-sysctl.conf")).unwrap();
    symlink("/etc/sysctl.conf", directory.join("2.conf")).unwrap();
    symlink("/dev/null", directory.join("1.conf")).unwrap();
    symlink("/etc/passwd", directory.join("3.conf")).unwrap();
    let (text, errors, status) = printed(root.path());
    assert_eq!(text, "2 files, 1 knob: 1 as configured\n");
    let note = "note: /etc/sysctl.d/3.conf is a link to nothing, which systemd-sysctl passes over";
    assert_eq!((errors.as_str(), status), (note, Some(0)));
}

#[test]
fn wrong_arguments_are_usage_errors() {
    snapshot(
        "drift-usage",
        [
            knobgate(["drift", "nowhere.conf"]),
            knobgate(["drift", "--root", "nowhere"]),
            knobgate(["drift", "--root", ".", "x.conf"]),
            knobgate(["drift", "-", "--events", "-"]).stdin("kernel.ostype = Linux\n"),
            knobgate(["drift", "-", "--events", "nowhere.jsonl"]).stdin("kernel.ostype = Linux\n"),
            knobgate(["drift", "-", "--events", "web.knob"]).stdin("kernel.ostype = Linux\n"),
            knobgate(["drift", "--format", "xml"]),
        ],
    );
}

#[test]
fn given_files_and_directories_are_read_in_their_order() {
    let root = tree(&[("a/2.conf", "kernel.ostype = BSD\n"), ("a/1.conf", "kernel.ostype = AIX\n")]);
    let directory = root.path().join("a");
    let directory = directory.to_str().unwrap();
    let run = |args: [&str; 3]| {
        let output = knobgate(args).stdin("kernel.ostype=Linux\n").output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    assert_eq!(run(["drift", directory, "-"]), ("3 files, 1 knob: 1 as configured\n".to_owned(), Some(0)));
    let (text, status) = run(["drift", "-", directory]);
    assert!(text.starts_with(&format!("{directory}/2.conf:1: kernel.ostype = BSD\n")), "{text}");
    assert_eq!(status, Some(1));
}

#[test]
fn recorded_events_name_the_writer() {
    let root = tree(&[("etc/sysctl.d/a.conf", "kernel.ostype = BSD\n")]);
    let line = |time: u64, more: &str, new: &str| {
        format!(
            "{{\"schema\":\"knobgate.events\",\"version\":1,\"type\":\"event\",\"sequence\":1,\"boot_time\":{time},{more}\"policy\":\"p\",\
             \"mode\":\"enforce\",\"verdict\":\"allow\",\"access\":\"write\",\"knob\":\"kernel.ostype\",\"position\":0,\
             \"new\":{{\"text\":\"{new}\"}},\"rule\":{{\"default\":\"write\",\"text\":{{\"text\":\"x\"}}}},\
             \"task\":{{\"pid\":7,\"comm\":\"a\\u202eb\"}},\"cgroup\":{{\"id\":1}}}}\n"
        )
    };
    let other_boot = "\"boot_id\":\"another\",";
    let events = [line(1, "", "Linux\\n"), line(2, "", "Minix\\n"), line(3, other_boot, "BSD\\n")].concat();
    let file = root.path().join("events.jsonl");
    fs::write(&file, events).unwrap();
    let (root, file) = (root.path().to_str().unwrap(), file.to_str().unwrap());
    let output = knobgate(["drift", "--root", root, "--events", file]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace(root, "");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let part = |line: &str, parts: &[&str]| parts.iter().all(|part| line.contains(part));
    assert!(
        part(lines[2], &["  written ", "ALLOW", r#"kernel.ostype "Minix\n""#, r#""a\u{202e}b"[7]"#]),
        "{text}"
    );
    assert!(lines[3].contains("this is not the running value"), "{text}");
    assert!(part(lines[4], &["  earlier ", r#""Linux\n""#]), "{text}");
    assert!(lines[5].contains("this is the running value"), "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("left out: 1"), "{text}");
}

#[test]
fn what_is_not_known_of_a_write_is_said() {
    let root = tree(&[(
        "etc/sysctl.d/a.conf",
        "kernel.ostype = BSD\nkernel.domainname = a b c\nkernel.pid_max = 2\n",
    )]);
    let line = |knob: &str, more: &str| {
        format!(
            "{{\"schema\":\"knobgate.events\",\"version\":1,\"type\":\"event\",\"sequence\":1,\"boot_time\":1,{more}\"policy\":\"p\",\
             \"mode\":\"enforce\",\"verdict\":\"allow\",\"access\":\"write\",\"knob\":\"{knob}\",\"position\":0,\
             \"new\":{{\"text\":\"1\"}},\"rule\":{{\"default\":\"write\",\"text\":{{\"text\":\"x\"}}}},\"cgroup\":{{\"id\":1}}}}\n"
        )
    };
    let events = [
        line("kernel.ostype", "\"observer\":true,\"outcome_unknown\":true,"),
        line("kernel.domainname", ""),
        line("kernel.pid_max", "\"namespaces\":{\"pid\":1},"),
    ];
    let file = root.path().join("events.jsonl");
    fs::write(&file, events.concat()).unwrap();
    let (root, file) = (root.path().to_str().unwrap(), file.to_str().unwrap());
    let output = knobgate(["drift", "--root", root, "--events", file]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for (expected, knob) in [
        ("          whether it passed is not known\n", "ostype"),
        ("          in which UTS namespace is not known\n", "domainname"),
        ("          in another pid namespace: each has its own of this knob since Linux 6.14\n", "pid_max"),
    ] {
        assert!(text.contains(expected), "{knob}: {text}");
    }
    assert_eq!(text.matches("namespace").count(), 2, "{text}");
}

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use knobgate_kernel::{Cgroup, CgroupError, CgroupType, Hierarchy, ProcessId, ScratchCgroup};
use knobgate_testing::{Reaped, eventually, is_running, root, scratch, shell};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[super::Test] = &[
    ("a_cgroup_is_opened_by_directory_and_by_name", open),
    ("other_directories_are_rejected", not_cgroups),
    ("a_cgroup_is_created_once", create),
    ("a_process_is_found_after_it_was_moved", of_pid),
    ("a_process_in_a_cgroup_with_an_unusual_name_is_found", odd_names),
    ("a_process_is_not_found_in_a_cgroup_that_a_mount_covers", mounts_over),
    ("an_id_leads_back_to_the_path", ids),
    ("killing_reaches_all_cgroups_below", kill),
    ("killing_reaches_threaded_cgroups", kill_threaded),
    ("a_cgroup_has_a_type", types),
    // This is why the root cannot be killed, which no test tries.
    ("the_root_has_no_events_file", rooted),
    ("a_cgroup_in_use_is_not_removed", in_use),
    ("a_scratch_cgroup_is_removed_with_everything_in_it", scratched),
    ("a_tree_is_removed_however_deep_it_is", deep),
    ("killing_reaches_every_cgroup_of_a_threaded_tree", kill_threaded_tree),
    ("a_tree_with_processes_is_left_alone", populated),
    ("a_mount_on_a_cgroup_is_left_alone", mounted),
    ("stale_scratch_cgroups_are_removed_and_nothing_else", stale),
    ("what_another_pid_namespace_uses_is_not_stale", stale_elsewhere),
    ("a_new_scratch_cgroup_is_not_taken_for_stale", stale_race),
];

fn open() -> Result<(), Failed> {
    let cgroup = scratch();
    let hierarchy = Hierarchy::find()?;
    let by_path = Cgroup::open(cgroup.path())?;
    let by_name = Cgroup::open(cgroup.path().strip_prefix(hierarchy.path())?)?;
    assert_eq!([by_path.id(), by_name.id()], [cgroup.id(); 2]);
    assert_eq!(by_path.parent()?.map(|parent| parent.id()), Some(root().id()));
    assert!(root().parent()?.is_none());
    Ok(())
}

fn not_cgroups() -> Result<(), Failed> {
    let missing = Cgroup::open("knobgate-test-missing").expect_err("missing");
    assert!(matches!(&missing, CgroupError::NotFound { .. }), "{missing}");
    for path in ["/tmp", "/proc", "/etc/passwd"] {
        let error = Cgroup::open(path).expect_err(path);
        assert!(matches!(&error, CgroupError::NotCgroup { .. }), "{error}");
    }
    // On machines with both versions only.
    let version_one = Path::new("/sys/fs/cgroup/cpu");
    if version_one.is_dir() && Hierarchy::find()?.path() != Path::new("/sys/fs/cgroup") {
        let error = Cgroup::open(version_one).expect_err("version 1");
        assert!(error.to_string().contains("version 1"), "{error}");
        assert!(matches!(error, CgroupError::VersionOne { hierarchy: Some(_), .. }));
    }
    Ok(())
}

fn create() -> Result<(), Failed> {
    let cgroup = scratch();
    let child = cgroup.create("child")?;
    let error = cgroup.create("child").expect_err("exists");
    assert!(matches!(&error, CgroupError::Exists { path } if path == child.path()), "{error}");
    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert!(matches!(cgroup.create(name), Err(CgroupError::InvalidName { .. })), "{name:?}");
    }
    assert_eq!(cgroup.descendants()?, [(child.id(), child.path().to_owned())]);
    child.remove()?;
    assert!(matches!(child.remove(), Err(CgroupError::NotFound { .. })));
    assert_eq!(cgroup.descendants()?, []);
    Ok(())
}

fn of_pid() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    assert!(!cgroup.is_populated()?);
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    let (process, pid) = (ProcessId::of_child(&child.0), child.0.id());
    assert_eq!(Cgroup::of_pid(pid)?.id(), cgroup.id());
    assert_eq!((cgroup.procs()?, cgroup.is_populated()?), (vec![pid], true));
    other.enter(process)?;
    assert_eq!(Cgroup::of_pid(pid)?.path(), other.path());
    assert_eq!(cgroup.procs()?, Vec::<u32>::new());
    drop(child);
    assert!(matches!(Cgroup::of_pid(pid), Err(CgroupError::NoProcess { .. })));
    assert!(matches!(other.enter(process), Err(CgroupError::NoProcess { .. })));
    Ok(())
}

fn odd_names() -> Result<(), Failed> {
    let cgroup = scratch();
    let (plain, odd) = (cgroup.create("x")?, cgroup.create("x (deleted)")?);
    let child = Reaped(shell(&odd, "exec sleep 1000").spawn()?);
    assert_eq!(Cgroup::of_pid(child.0.id())?.id(), odd.id());
    drop(plain);
    Ok(())
}

/// Calls [`Cgroup::of_pid`] for a process in `cgroup` after mounting `directory` over `over`. Returns what it prints.
fn with_mount_over(cgroup: &Cgroup, directory: &Path, over: &Path) -> Result<String, Failed> {
    let child = Reaped(shell(cgroup, "exec sleep 1000").spawn()?);
    let mut covered = Command::new("unshare");
    covered.args(["--mount", "sh", "-c", "mount --bind \"$2\" \"$3\" && exec \"$0\" \"$1\" \"$4\""]);
    covered.arg(std::env::current_exe()?).arg(FIND).arg(directory).arg(over).arg(child.0.id().to_string());
    let output = covered.output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn mounts_over() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let whole = Hierarchy::find()?.path().to_owned();
    // A part of the hierarchy covers the whole one, and has a cgroup with the name of ours.
    let part = other.create("part")?;
    part.create(cgroup.path().file_name().ok_or("a name")?)?;
    let said = with_mount_over(&cgroup, part.path(), &whole)?;
    assert!(said.contains("which the hierarchy mounted at"), "{said}");
    // Another cgroup covers ours.
    let said = with_mount_over(&cgroup, other.path(), cgroup.path())?;
    assert!(said.contains("although"), "{said}");
    Ok(())
}

/// The argument that makes this program print the cgroup of a process.
pub(crate) const FIND: &str = "--find-cgroup";

pub(crate) fn find(pid: &str) -> ExitCode {
    match Cgroup::of_pid(pid.parse().expect("a process id")) {
        Ok(cgroup) => println!("found {}", cgroup.path().display()),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

fn ids() -> Result<(), Failed> {
    let cgroup = scratch();
    let inner = cgroup.create("a b")?;
    let hierarchy = Hierarchy::find()?;
    assert_eq!(hierarchy.path_of_id(inner.id())?.as_deref(), Some(inner.path()));
    assert_eq!(hierarchy.path_of_id(root().id())?.as_deref(), Some(hierarchy.path()));
    assert_eq!(hierarchy.path_of_id(u64::MAX)?, None);

    assert_eq!(hierarchy.path_by_handle(inner.id())?.as_deref(), Some(inner.path()));
    assert_eq!(hierarchy.path_by_handle(root().id())?.as_deref(), Some(hierarchy.path()));
    assert_eq!(hierarchy.path_by_handle(u64::MAX)?, None);
    let file = fs::metadata(inner.path().join("cgroup.procs"))?.ino();
    assert_eq!(hierarchy.path_by_handle(file)?, None);
    let id = inner.id();
    fs::remove_dir(inner.path())?;
    // Also while it is open.
    assert_eq!(hierarchy.path_by_handle(id)?, None);
    drop(inner);
    assert_eq!(hierarchy.path_by_handle(id)?, None);
    Ok(())
}

fn kill() -> Result<(), Failed> {
    let cgroup = scratch();
    let inner = cgroup.create("inner")?;
    let children = [
        Reaped(shell(&cgroup, "sleep 1000 & sleep 1000").spawn()?),
        Reaped(shell(&inner, "exec sleep 1000").spawn()?),
    ];
    cgroup.kill()?;
    assert!(cgroup.wait_until_empty(Duration::from_secs(5))?);
    assert!(children.iter().all(|child| !is_running(child.0.id())));
    Ok(())
}

fn rooted() -> Result<(), Failed> {
    let root = root();
    if !root.path().join("cgroup.type").exists() {
        let error = root.is_populated().expect_err("there is no cgroup.events");
        assert!(
            matches!(&error, CgroupError::Io { error: reason, .. } if reason.raw_os_error() == Some(libc::ENOENT)),
            "{error}"
        );
    }
    Ok(())
}

fn in_use() -> Result<(), Failed> {
    let cgroup = scratch();
    let child = Reaped(shell(&cgroup, "exec sleep 1000").spawn()?);
    assert!(matches!(cgroup.remove(), Err(CgroupError::InUse { .. })));
    let parent = cgroup.create("parent")?;
    parent.create("child")?;
    assert!(matches!(parent.remove(), Err(CgroupError::InUse { .. })));
    parent.remove_with_descendants()?;
    assert!(!cgroup.wait_until_empty(Duration::from_millis(50))?);
    drop(child);
    cgroup.remove()?;
    Ok(())
}

fn scratched() -> Result<(), Failed> {
    let cgroup = scratch();
    let path = cgroup.path().to_owned();
    let inner = cgroup.create("inner")?.create("innermost")?;
    let child = Reaped(shell(&inner, "exec sleep 1000").spawn()?);
    drop(cgroup);
    assert!(!path.exists());
    assert!(!is_running(child.0.id()));
    Ok(())
}

/// Creates nested cgroups, each next to another one. Returns the innermost one.
fn nest(cgroup: &Cgroup, name: &str, depth: usize) -> Result<Cgroup, CgroupError> {
    cgroup.create("beside")?;
    let mut innermost = cgroup.create(name)?;
    for _ in 1..depth {
        innermost.create("beside")?;
        innermost = innermost.create(name)?;
    }
    Ok(innermost)
}

fn deep() -> Result<(), Failed> {
    const DEPTH: usize = 150;
    // The path exceeds PATH_MAX.
    let name = "x".repeat(libc::PATH_MAX as usize / DEPTH + 1);
    let parent = scratch();
    let cgroup = parent.create("top")?;
    let innermost = nest(&cgroup, &name, DEPTH)?;
    assert_eq!(cgroup.descendants()?.len(), 2 * DEPTH);
    assert_eq!(Hierarchy::find()?.path_of_id(innermost.id())?.as_deref(), Some(innermost.path()));
    let by_handle = Hierarchy::find()?.path_by_handle(innermost.id());
    assert!(matches!(by_handle, Err(CgroupError::Io { .. })), "{by_handle:?}");
    assert_eq!(Cgroup::open(innermost.path())?.id(), innermost.id());
    drop(innermost);
    cgroup.remove_with_descendants()?;
    assert!(!cgroup.path().exists());

    let cgroup = parent.create("top")?;
    let child = Reaped(shell(&nest(&cgroup, &name, DEPTH)?, "exec sleep 1000").spawn()?);
    cgroup.kill_and_remove()?;
    assert!(!cgroup.path().exists());
    assert!(!is_running(child.0.id()));
    Ok(())
}

fn kill_threaded_tree() -> Result<(), Failed> {
    let cgroup = scratch();
    let threaded = cgroup.create("threaded")?;
    nest(&threaded, "in", 100)?;
    let mut sleepers = Vec::new();
    let below = threaded.descendants()?.into_iter().map(|(_, path)| path);
    for path in std::iter::once(threaded.path().to_owned()).chain(below) {
        std::fs::write(path.join("cgroup.type"), "threaded")?;
        let mut sleeper = Command::new("sleep");
        sleeper.arg("1000");
        knobgate_kernel::start_inside(&mut sleeper, &Cgroup::open(&path)?)?;
        sleepers.push(Reaped(sleeper.spawn()?));
    }
    assert_eq!(sleepers.len(), 201);
    threaded.kill()?;
    for mut sleeper in sleepers {
        assert_eq!(sleeper.0.wait()?.signal(), Some(libc::SIGKILL));
    }
    threaded.kill_and_remove()?;
    Ok(())
}

fn populated() -> Result<(), Failed> {
    let cgroup = scratch();
    let innermost = nest(&cgroup, "in", 3)?;
    let child = Reaped(shell(&innermost, "exec sleep 1000").spawn()?);
    assert!(matches!(cgroup.remove_with_descendants(), Err(CgroupError::InUse { .. })));
    assert_eq!(cgroup.descendants()?.len(), 6);
    assert!(is_running(child.0.id()));
    Ok(())
}

fn mounted() -> Result<(), Failed> {
    let cgroup = scratch();
    let inner = cgroup.create("a")?.create("b")?;
    cgroup.create("c")?.create("d")?;
    let output = Command::new("sh")
        .args(["-c", "mount -t tmpfs knobgate-test \"$1\" && mkdir -p \"$1/x/y\"", "sh"])
        .arg(inner.path())
        .output()?;
    let removed = cgroup.remove_with_descendants();
    let is_untouched = inner.path().join("x/y").is_dir();
    let is_unmounted = Command::new("umount").arg(inner.path()).status()?.success();
    assert!(output.status.success() && is_unmounted && is_untouched, "{output:?}");
    assert!(matches!(removed, Err(CgroupError::InUse { .. })), "{removed:?}");
    cgroup.remove_with_descendants()?;
    Ok(())
}

/// The arguments that make this program clear stale cgroups away, and hold a scratch cgroup until its input ends.
pub(crate) const CLEARER: &str = "--remove-stale";
pub(crate) const HOLDER: &str = "--hold-scratch";
const STALE: &str = "stale-";

pub(crate) fn clear_stale(parent: &Path) -> ExitCode {
    ScratchCgroup::remove_stale(&Cgroup::open(parent).expect("the parent"), STALE);
    ExitCode::SUCCESS
}

pub(crate) fn hold_scratch(parent: &Path) -> ExitCode {
    let parent = Cgroup::open(parent).expect("the parent");
    let scratch = ScratchCgroup::create(&parent, STALE).expect("a scratch cgroup");
    println!("{}", scratch.path().display());
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// This program in a role, as a process of another pid namespace.
fn in_other_pids(role: &str, parent: &Cgroup) -> Result<Command, Failed> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.arg(std::env::current_exe()?).arg(role).arg(parent.path());
    Ok(command)
}

fn stale() -> Result<(), Failed> {
    let cgroup = scratch();
    let dead = cgroup.create("stale-4711-0")?;
    dead.create("a")?.create("b")?;
    // Its owner is dead, and the process with its id is another.
    let reused = cgroup.create(format!("stale-{}-0", std::process::id()))?;
    let used = cgroup.create("stale-4711-1")?;
    let sleeper = Reaped(shell(&used.create("a")?, "exec sleep 1000").spawn()?);
    let others = [cgroup.create("stale-mate")?, cgroup.create("stale-4711-x")?, cgroup.create("fresh-1-0")?];
    let alive = ScratchCgroup::create(&cgroup, STALE)?;
    ScratchCgroup::remove_stale(&cgroup, STALE);
    assert_eq!([dead, reused].map(|cgroup| cgroup.path().exists()), [false; 2]);
    assert!(others.iter().chain([&*alive, &used]).all(|cgroup| cgroup.path().exists()));
    assert!(is_running(sleeper.0.id()));
    Ok(())
}

fn stale_elsewhere() -> Result<(), Failed> {
    let cgroup = scratch();
    // Our id does not exist in the other namespace, and theirs means another process here.
    let ours = ScratchCgroup::create(&cgroup, STALE)?;
    assert!(in_other_pids(CLEARER, &cgroup)?.status()?.success());
    assert!(ours.path().exists());
    let mut holder = in_other_pids(HOLDER, &cgroup)?;
    let mut holder = Reaped(holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut theirs = String::new();
    BufReader::new(holder.0.stdout.take().ok_or("no output")?).read_line(&mut theirs)?;
    let theirs = Path::new(theirs.trim());
    assert!(theirs.starts_with(cgroup.path()) && theirs.exists(), "{theirs:?}");
    ScratchCgroup::remove_stale(&cgroup, STALE);
    assert!(theirs.exists());
    // Killed, it leaves its cgroup behind.
    drop(holder);
    eventually("it is seen to be stale", || {
        ScratchCgroup::remove_stale(&cgroup, STALE);
        !theirs.exists()
    });
    assert!(ours.path().exists());
    Ok(())
}

fn stale_race() -> Result<(), Failed> {
    let cgroup = scratch();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                ScratchCgroup::remove_stale(&cgroup, STALE);
            }
        });
        let made: Result<Vec<_>, _> = (0..200).map(|_| ScratchCgroup::create(&cgroup, STALE)).collect();
        is_done.store(true, Ordering::Relaxed);
        assert!(made?.iter().all(|scratch| scratch.path().exists()));
        Ok(())
    })
}

fn kill_threaded() -> Result<(), Failed> {
    let cgroup = scratch();
    let threaded = cgroup.create("threaded")?;
    let inner = threaded.create("inner")?;
    for cgroup in [&threaded, &inner] {
        std::fs::write(cgroup.path().join("cgroup.type"), "threaded")?;
    }
    // Twice, since nothing must stay frozen.
    for _ in 0..2 {
        let mut forking = Vec::new();
        for cgroup in [&threaded, &inner] {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do sleep 0.01 & wait; done"]);
            knobgate_kernel::start_inside(&mut command, cgroup)?;
            forking.push(Reaped(command.spawn()?));
        }
        assert!(threaded.is_populated()? && inner.is_populated()?);
        threaded.kill()?;
        assert!(threaded.wait_until_empty(Duration::from_secs(10))?);
        for mut process in forking {
            assert_eq!(process.0.wait()?.signal(), Some(libc::SIGKILL));
        }
    }
    Ok(())
}

fn types() -> Result<(), Failed> {
    let cgroup = scratch();
    assert_eq!(cgroup.kind()?, CgroupType::Domain);
    let (threaded, beside) = (cgroup.create("threaded")?, cgroup.create("beside")?);
    std::fs::write(threaded.path().join("cgroup.type"), "threaded")?;
    let kinds = [&*cgroup, &threaded, &beside].map(|cgroup| cgroup.kind().map(|kind| kind.to_string()));
    let kinds = kinds.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(kinds, ["domain threaded", "threaded", "domain invalid"]);
    beside.remove()?;
    assert!(matches!(beside.kind(), Err(CgroupError::NotFound { .. })));
    Ok(())
}

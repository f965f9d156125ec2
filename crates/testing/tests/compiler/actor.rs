//! The process inside the cgroup: it makes the accesses that it is told of, and tells what came of them.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use knobgate_kernel::{Cgroup, start_inside};
use knobgate_policy::{Access, Task};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};
use rustix::thread;

/// The argument that makes the test binary an actor.
pub(crate) const ARGUMENT: &str = "--be-the-actor";

/// How many bytes a read asks for.
pub(crate) const READ_BYTES: usize = 4096;

/// What came of a read or write: the bytes read (none for a write) and what the system call returned, a length or a
/// negative errno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub returned: i64,
    pub data: Vec<u8>,
}

/// Does `access`, as the calling thread. The current value in it plays no part.
pub(crate) fn perform(access: &Access) -> Outcome {
    let path = format!("/proc/sys/{}", String::from_utf8_lossy(access.knob.as_bytes()));
    let flags = if access.new.is_some() { OFlags::WRONLY } else { OFlags::RDONLY };
    let mut data = Vec::new();
    let returned =
        rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).and_then(|fd| match &access.new {
            Some(new) => rustix::io::pwrite(&fd, new, access.pos),
            None => {
                data.resize(READ_BYTES, 0);
                let read = rustix::io::pread(&fd, &mut data, access.pos);
                data.truncate(read.unwrap_or(0));
                read
            }
        });
    let returned = match returned {
        Ok(length) => length as i64,
        Err(errno) => -i64::from(errno.raw_os_error()),
    };
    Outcome { returned, data }
}

/// Becomes `task` as far as programs of the hook can tell: real ids and name. The effective ids stay root's, by which
/// the permissions of knobs are judged.
fn become_task(task: &Task) {
    let (uid, gid) = (Uid::from_raw(task.uid), Gid::from_raw(task.gid));
    thread::set_thread_res_gid(gid, Gid::ROOT, Gid::ROOT).expect("set the real group id");
    thread::set_thread_res_uid(uid, Uid::ROOT, Uid::ROOT).expect("set the real user id");
    let name: Vec<u8> = task.comm.iter().copied().take_while(|&byte| byte != 0).collect();
    thread::set_name(&std::ffi::CString::new(name).expect("no NUL")).expect("set the name");
}

/// The actor's life: one access after another from standard input, each outcome to standard output.
pub(crate) fn live() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(access) = receive(&mut input)? {
        become_task(&access.task);
        let outcome = perform(&access);
        output.write_all(&outcome.returned.to_ne_bytes())?;
        send_bytes(&mut output, &outcome.data)?;
        output.flush()?;
    }
    Ok(())
}

/// The director's end.
pub(crate) struct Actor {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Actor {
    /// Starts one inside `cgroup`, in the namespaces of this process.
    pub(crate) fn start(cgroup: &Cgroup) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        start_inside(&mut command, cgroup).expect("the scratch cgroup can be entered");
        let mut child = command.spawn().expect("start the actor");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, to, from }
    }

    /// Has it do `access`.
    pub(crate) fn perform(&mut self, access: &Access) -> Outcome {
        send(&mut self.to, access).expect("the actor listens");
        let mut returned = [0; 8];
        self.from.read_exact(&mut returned).expect("the actor answers");
        let data = receive_bytes(&mut self.from).expect("the actor answers");
        Outcome { returned: i64::from_ne_bytes(returned), data }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(to: &mut impl Write, access: &Access) -> io::Result<()> {
    let mut message = vec![u8::from(access.new.is_some())];
    message.extend(access.pos.to_ne_bytes());
    message.extend(access.task.uid.to_ne_bytes());
    message.extend(access.task.gid.to_ne_bytes());
    send_bytes(&mut message, access.knob.as_bytes())?;
    send_bytes(&mut message, &access.task.comm)?;
    send_bytes(&mut message, access.new.as_deref().unwrap_or_default())?;
    to.write_all(&message)
}

fn receive(from: &mut impl Read) -> io::Result<Option<Access>> {
    let mut writes = [0];
    if from.read(&mut writes)? == 0 {
        return Ok(None);
    }
    let (mut pos, mut uid, mut gid) = ([0; 8], [0; 4], [0; 4]);
    from.read_exact(&mut pos)?;
    from.read_exact(&mut uid)?;
    from.read_exact(&mut gid)?;
    let knob = String::from_utf8_lossy(&receive_bytes(from)?).into_owned();
    let comm = receive_bytes(from)?;
    let new = receive_bytes(from)?;
    Ok(Some(Access {
        knob: super::knob(&knob),
        new: (writes == [1]).then_some(new),
        old: None,
        pos: u64::from_ne_bytes(pos),
        task: Task { uid: u32::from_ne_bytes(uid), gid: u32::from_ne_bytes(gid), comm },
    }))
}

fn send_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_ne_bytes())?;
    to.write_all(bytes)
}

fn receive_bytes(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u64::from_ne_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

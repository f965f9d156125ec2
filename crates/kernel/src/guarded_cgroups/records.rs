//! What the programs write and the library reads: records of departures, and what is known of each process.

use knobgate_bpf::uapi::TASK_COMM_LEN;

use crate::process_id::ProcessId;
use crate::started_process::StartedProcess;

/// The size of a record.
pub(super) const RECORD: usize = 104;

/// The kinds of records: the task was moved, or started elsewhere.
pub(super) const MOVED: u32 = 1;
pub(super) const STARTED: u32 = 2;

/// Where the members of a record are.
pub(super) const GUARDED: i16 = 0;
pub(super) const ENTERED: i16 = 8;
pub(super) const TO: i16 = 16;
pub(super) const TICKS: i16 = 24;
pub(super) const MOVER_TICKS: i16 = 32;
pub(super) const MOVER_CGROUP: i16 = 40;
pub(super) const NAME: i16 = 48;
pub(super) const MOVER_NAME: i16 = 64;
pub(super) const PROCESS: i16 = 80;
pub(super) const THREAD: i16 = 84;
pub(super) const MOVER: i16 = 88;
pub(super) const MOVER_UID: i16 = 92;
pub(super) const KIND: i16 = 96;

/// A record of the programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a>(pub(super) &'a [u8; RECORD]);

macro_rules! members {
    ($($name:ident = $at:ident: $type:ty;)*) => {
        impl Record<'_> {
            $(pub(super) fn $name(self) -> $type {
                let at = $at as usize;
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(&self.0[at..at + size_of::<$type>()]);
                <$type>::from_ne_bytes(bytes)
            })*
        }
    };
}

members! {
    guarded = GUARDED: u64;
    entered = ENTERED: u64;
    to = TO: u64;
    ticks = TICKS: u64;
    mover_ticks = MOVER_TICKS: u64;
    mover_cgroup = MOVER_CGROUP: u64;
    process_id = PROCESS: u32;
    thread = THREAD: u32;
    mover_id = MOVER: u32;
    mover_uid = MOVER_UID: u32;
    kind = KIND: u32;
}

impl Record<'_> {
    pub(super) fn process(self) -> Option<StartedProcess> {
        Some(StartedProcess::new(ProcessId::new(self.process_id())?, self.ticks()))
    }

    pub(super) fn mover(self) -> Option<StartedProcess> {
        Some(StartedProcess::new(ProcessId::new(self.mover_id())?, self.mover_ticks()))
    }

    pub(super) fn name(self) -> Vec<u8> {
        self.text(NAME)
    }

    pub(super) fn mover_name(self) -> Vec<u8> {
        self.text(MOVER_NAME)
    }

    fn text(self, at: i16) -> Vec<u8> {
        let bytes = self.0.iter().skip(at as usize).take(TASK_COMM_LEN);
        bytes.copied().take_while(|&byte| byte != 0).collect()
    }
}

/// The sizes of a key and a value of the processes: `u32 id` and `struct { u64 guarded; u64 ticks; }`.
pub(super) const KEY: u32 = 4;
pub(super) const VALUE: u32 = 16;

pub(super) fn key(process: StartedProcess) -> [u8; 4] {
    process.id().get().to_ne_bytes()
}

pub(super) fn value(process: StartedProcess, guarded: u64) -> [u8; VALUE as usize] {
    let mut value = [0; VALUE as usize];
    value[..8].copy_from_slice(&guarded.to_ne_bytes());
    value[8..].copy_from_slice(&process.ticks().to_ne_bytes());
    value
}

/// The process of a key and a value, and the innermost guarded cgroup that it is in.
pub(super) fn entry(key: &[u8], value: &[u8]) -> Option<(StartedProcess, u64)> {
    let id = ProcessId::new(u32::from_ne_bytes(key.try_into().ok()?))?;
    let (guarded, ticks) = value.split_first_chunk()?;
    let ticks = u64::from_ne_bytes(ticks.try_into().ok()?);
    Some((StartedProcess::new(id, ticks), u64::from_ne_bytes(*guarded)))
}

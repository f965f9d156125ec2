//! The format of a scenario in JSON. The doc comments are the descriptions in the published schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Hex};
use crate::id::Id;
use crate::program_document::ProgramDocument;
use crate::step_document::StepDocument;
use crate::unique;

/// A scenario: knobs, programs, cgroups, and the steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "knobgate scenario")]
pub struct Document {
    /// The schema of this document; ignored.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The kernel that the model stands for, such as "6.8"; absent, 6.18. Ignored on the running kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Options of the configuration of the kernel that the model stands for, which programs of objects read (kconfig), as `.config`
    /// has them: {"CONFIG_HZ": "250"}. Ignored on the running kernel, which has its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub kconfig: BTreeMap<String, String>,
    /// The file with the BTF of the kernel that the model stands for, such as a copy of /sys/kernel/btf/vmlinux, or an ELF file
    /// with a section .BTF: programs of objects are linked for its types (CO-RE), and the model lays out tasks like it. Relative
    /// to the scenario, like the files of objects. Ignored on the running kernel, which has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf: Option<String>,
    /// What the kernel that the model stands for does not have, although programs of objects ask for it (CO-RE, kfuncs, ksyms):
    /// "struct task_struct.no_such_member", "enum pid_type::NO_SUCH", "struct no_such_struct", "no_such_function". The model does not
    /// know what else a kernel has. Ignored on the running kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The value of kernel.sysctl_writes_strict: what writes at positions other than 0 do. Absent, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 1))]
    pub sysctl_writes_strict: Option<i8>,
    /// The knobs. On the running kernel they are the machine's own: they are set to these values, and restored at the end.
    #[serde(default)]
    pub knobs: Vec<KnobDocument>,
    /// The maps, which programs given as instructions share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapDocument>,
    /// The programs, by name.
    #[serde(default, deserialize_with = "unique::map")]
    pub programs: BTreeMap<String, ProgramDocument>,
    /// The cgroups: paths, such as "web/worker", below "/", which is created for the scenario. Parents
    /// are created as well.
    #[serde(default)]
    pub cgroups: Vec<String>,
    /// Processes that make accesses, by name.
    #[serde(default, deserialize_with = "unique::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<String, ProcessDocument>,
    /// The steps, in order; each gives one line of output.
    pub steps: Vec<StepDocument>,
}

/// One knob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnobDocument {
    /// Its name, such as "net/core/somaxconn" or "net.core.somaxconn".
    pub name: String,
    /// Its initial value, as it is written to it; absent of a knob that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Bytes>,
    /// Its mode, in octal; absent, "0644".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    pub mode: Option<String>,
    /// Its handler.
    pub handler: HandlerDocument,
}

/// The handler of a knob: one of the kernel's generic handlers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandlerDocument {
    /// Its kind.
    pub kind: HandlerKind,
    /// How many numbers an `int`, an `ulong` or a time has; absent, as many as its value. How many bits a `bitmap` has;
    /// absent, 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub len: Option<u32>,
    /// The minimum of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Integer>,
    /// The maximum of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Integer>,
    /// The size of a `string` in bytes, including its NUL; absent, 4096. Of a `bitmap`, the same as `len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_len: Option<u32>,
    /// The name of the error with which all reads fail, such as "EINVAL": programs get no current value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_error: Option<String>,
}

/// The kinds of handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HandlerKind {
    /// Text (`proc_dostring`).
    String,
    /// One or more int (`proc_dointvec`, `proc_dointvec_minmax`).
    Int,
    /// One unsigned int (`proc_douintvec`, `proc_douintvec_minmax`).
    Uint,
    /// One or more unsigned long (`proc_doulongvec_minmax`).
    Ulong,
    /// One byte (`proc_dou8vec_minmax`).
    U8,
    /// 0 or 1: without bounds every number but 0 makes it 1 (`proc_dobool`), with bounds others are rejected
    /// (`proc_dou8vec_minmax`).
    Bool,
    /// One or more times in seconds, stored in ticks of the timer, 250 per second (`proc_dointvec_jiffies`).
    Jiffies,
    /// One or more times in milliseconds, stored in such ticks (`proc_dointvec_ms_jiffies`).
    #[serde(rename = "ms_jiffies")]
    MsJiffies,
    /// One or more times in hundredths of a second, stored in such ticks (`proc_dointvec_userhz_jiffies`).
    #[serde(rename = "userhz_jiffies")]
    UserHzJiffies,
    /// A list of numbers and ranges (`proc_do_large_bitmap`).
    Bitmap,
    /// An IPv6 address (`addrconf_sysctl_stable_secret`). Without a value it is not set, and reads fail with EIO until a
    /// write sets it.
    #[serde(rename = "stable_secret")]
    StableSecret,
}

/// An integer between -2^63 and 2^64-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Integer(#[schemars(range(min = i64::MIN, max = u64::MAX))] pub i128);

/// One map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapDocument {
    /// Its name.
    pub name: String,
    /// Its kind, as bpftool names it, such as "array", "hash", "percpu_array" or "ringbuf".
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// The maximum of entries; for a ring buffer, its size in bytes.
    pub max_entries: u32,
    /// Whether the map is frozen after it was filled: nobody can change it, including programs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Its initial contents: keys with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<(Hex, Hex)>,
}

/// How a program is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachDocument {
    /// The program. It is loaded first, if it is not.
    pub program: String,
    /// The cgroup.
    pub cgroup: String,
    /// The mode.
    pub mode: ModeDocument,
    /// The hook that it is attached to, as an `enum bpf_attach_type`; absent, 18, `BPF_CGROUP_SYSCTL`. All others reject
    /// the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_type: Option<u32>,
    /// The position among other programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<FlagDocument>,
    /// The attachment that the position is relative to, or with the flag `replace` the one that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<Id>,
    /// The id for later steps.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Id>,
}

/// The mode in which a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeDocument {
    /// By a link, in multi mode.
    Link,
    /// Without a link: the only program, and none at descendant cgroups.
    Single,
    /// Without a link: the only program, unless a descendant cgroup has one.
    Override,
    /// Without a link, in multi mode.
    Multi,
}

/// Flags for attaching a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagDocument {
    /// It runs before the programs of descendant cgroups.
    Preorder,
    /// Before the attachment that it is relative to; without one, first.
    Before,
    /// After the attachment that it is relative to; without one, last.
    After,
    /// Replaces that attachment.
    Replace,
}

/// The replacement of a link's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateDocument {
    /// The id of the link.
    pub link: Id,
    /// The program. It is loaded first, if it is not.
    pub program: String,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessDocument {
    /// The cgroup that it starts in; absent, "/".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Its user id, real and effective; absent, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub uid: Option<u32>,
    /// Its group id, real and effective; absent, 0. It has no other groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub gid: Option<u32>,
    /// Its name, of at most 15 bytes; absent, "scenario".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<Bytes>,
    /// Its process id; absent, any. On the running kernel it cannot be chosen, so that a scenario with one is only played on
    /// the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub pid: Option<u32>,
}

/// The move of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveDocument {
    /// The process.
    pub process: String,
    /// The cgroup.
    pub cgroup: String,
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadDocument {
    /// The descriptor, which accesses with the same id share. Absent, it is only for this access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Id>,
    /// The knob; may be absent if an earlier access has opened the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knob: Option<String>,
    /// The cgroup of the process that reads, which is root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The process that reads, instead of one in a `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The position, in bytes; absent, that of the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i64::MAX))]
    pub pos: Option<u64>,
    /// How many bytes; absent, 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 0x0080_0000))]
    pub count: Option<u64>,
}

impl ReadDocument {
    /// How many bytes are read unless given.
    pub(crate) const COUNT: u64 = 4096;
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteDocument {
    /// The descriptor, which accesses with the same id share. Absent, it is only for this access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Id>,
    /// The knob; may be absent if an earlier access has opened the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knob: Option<String>,
    /// The cgroup of the process that writes, which is root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The process that writes, instead of one in a `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The position, in bytes; absent, that of the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i64::MAX))]
    pub pos: Option<u64>,
    /// The bytes to write.
    pub data: Bytes,
}

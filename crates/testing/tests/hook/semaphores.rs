//! `kernel/sem`: a vector of int, of which the last one has bounds of its own (`proc_ipc_sem_dointvec`, ipc/ipc_sysctl.c).

use knobgate_hook::handler::{Handler, HandlerEnv, IntVec, Written};
use knobgate_hook::{Errno, Knob};

/// The knob.
pub(crate) fn knob() -> Knob {
    Knob::new(Semaphores(IntVec::new([32000, 1_024_000_000, 500, 32000])))
}

#[derive(Debug)]
struct Semaphores(IntVec);

impl Handler for Semaphores {
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        self.0.read(count, position, env)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let before = self.0.values()[3];
        let mut returned = self.0.write(written, position, env);
        if returned.is_ok() && !(0..=32768).contains(&self.0.values()[3]) {
            returned = Err(Errno::ERANGE);
        }
        if returned.is_err() {
            self.0.values_mut()[3] = before;
        }
        returned
    }
}

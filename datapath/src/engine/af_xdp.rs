//! stub
use super::*;
pub(crate) struct Rx;
pub(crate) struct Tx;
pub(crate) struct Opened {
    pub(crate) rx: Vec<RxEngine>,
    pub(crate) tx: TxEngine,
    pub(crate) info: EngineInfo,
    pub(crate) guard: Box<dyn Send>,
}
pub(crate) fn open(_i: &str, _m: u16, _u: bool) -> Result<Opened, AttachError> {
    todo!()
}
impl Rx {
    pub(crate) fn receive(&mut self, _b: &mut Burst) {}
    pub(crate) fn release(&mut self) {}
    pub(crate) fn readiness(&self) -> BorrowedFd<'_> {
        todo!()
    }
    pub(crate) fn is_empty(&self) -> bool {
        true
    }
}
impl Tx {
    pub(crate) fn transmit(
        &mut self,
        _b: &Burst,
        _i: usize,
        _e: TagEdit,
    ) -> Result<usize, DropReason> {
        todo!()
    }
    pub(crate) fn flush(&mut self) {}
    pub(crate) fn statistics(&self) -> RingStatistics {
        todo!()
    }
}

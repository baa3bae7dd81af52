//! The memory limit of one call. wasmtime's own limiter counts each memory separately; this one sums them, and records that it
//! denied a request, so that the trap that follows is reported as what it is.

use wasmtime::{ResourceLimiter, Result};

use crate::resources::{INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};

#[derive(Debug)]
pub(crate) struct MemoryCap {
    limit: usize,
    used: usize,
    table_elements: usize,
    denied: bool,
}

impl MemoryCap {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, table_elements: 0, denied: false }
    }

    /// Whether the guest asked for more than its limit.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.denied = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS as usize {
            self.denied = true;
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    // Outside the pool, how many instances a component creates is known only while it runs.

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed() {
        let mut cap = MemoryCap::new(100);
        assert!(cap.memory_growing(0, 60, None).unwrap());
        assert!(cap.memory_growing(0, 40, None).unwrap());
        assert!(!cap.denied());
        assert!(!cap.memory_growing(40, 41, None).unwrap());
        assert!(cap.denied());
    }
}

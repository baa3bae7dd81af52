//! Modules that take long or much to compile.

use anyhow::{Context as _, Result};

/// Local variables and operands of the functions that are added.
const PARAMETERS: u64 = 2;
const LOCALS: u64 = 8;
/// i64: add, sub, mul, and, or, xor, shl, shr_u.
const OPERATIONS: [u8; 8] = [0x7c, 0x7d, 0x7e, 0x83, 0x84, 0x85, 0x86, 0x88];
const I64: u8 = 0x7e;

/// A core module with functions that nobody calls, of so many operations each.
pub(super) fn with_functions(module: &[u8], functions: u64, operations: usize) -> Result<Vec<u8>> {
    let (head, mut rest) = module.split_at_checked(8).context("not a module")?;
    let (mut out, mut kinds) = (head.to_vec(), 0);
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = read(after)?;
        let (body, next) = after.split_at_checked(usize::try_from(size)?).context("a section is cut off")?;
        rest = next;
        let body = match id {
            1 => {
                let (count, entries) = read(body)?;
                kinds = count;
                // (i64, i64) -> i64
                [&number(count + 1), entries, &[0x60, 2, I64, I64, 1, I64]].concat()
            }
            3 => {
                let (count, entries) = read(body)?;
                let added = number(kinds).repeat(usize::try_from(functions)?);
                [&number(count + functions), entries, &added].concat()
            }
            10 => {
                let (count, entries) = read(body)?;
                let mut random = fastrand::Rng::with_seed(1);
                let added: Vec<u8> = (0..functions).flat_map(|_| function(&mut random, operations)).collect();
                [&number(count + functions), entries, &added].concat()
            }
            _ => body.to_vec(),
        };
        out.push(*id);
        out.extend(number(body.len() as u64));
        out.extend(body);
    }
    Ok(out)
}

/// The code of a function with its size: operations on random variables, and a branch now and then.
fn function(random: &mut fastrand::Rng, operations: usize) -> Vec<u8> {
    let mut code = vec![1];
    code.extend(number(LOCALS));
    code.push(I64);
    let mut any = |from: u8| random.u8(from..(PARAMETERS + LOCALS) as u8);
    for index in 0..operations {
        let (a, b, to) = (any(0), any(0), any(2));
        let operation = OPERATIONS[usize::from(any(0)) % OPERATIONS.len()];
        code.extend([0x20, a, 0x20, b, operation, 0x21, to]);
        if index % 8 == 3 {
            // if a == b { to = b }
            code.extend([0x20, a, 0x20, b, 0x51, 0x04, 0x40, 0x20, b, 0x21, to, 0x0b]);
        }
    }
    code.extend([0x20, 2, 0x0b]);
    [number(code.len() as u64), code].concat()
}

/// Reads an unsigned LEB128.
fn read(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).context("a number is cut off")?;
    let (digits, rest) = bytes.split_at(end + 1);
    let value = digits.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Ok((value, rest))
}

/// An unsigned LEB128.
fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0, 127, 128, 624_485, u64::from(u32::MAX)] {
            assert_eq!(read(&number(value)).unwrap(), (value, &[][..]));
        }
    }
}

//! From the driver's errors to the store's: what an operator can do about each.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let cause = error.to_string();
        match &error {
            Error::SqliteFailure(failure, _) => of_code(failure.code, cause),
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => Self::Corrupt { cause },
            _ => Self::Statement { cause },
        }
    }
}

fn of_code(code: ErrorCode, cause: String) -> StoreError {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy { cause },
        ErrorCode::DiskFull
        | ErrorCode::ReadOnly
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::PermissionDenied
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory => StoreError::NotWritable { cause },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt { cause },
        ErrorCode::ConstraintViolation => StoreError::Refused { cause },
        _ => StoreError::Statement { cause },
    }
}

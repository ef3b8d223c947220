"""The claims that can be proved, checked in numbers: identity (T1), morphing (T2), decomposition (T3)."""

"""Every expected no of proofs."""

from kasuwa.base.problems import Invalid


class WrongCode(Invalid):
    """Wrong, used, expired and never sent look the same."""

    code = "wrong-code"
    title = "The code is wrong or has expired"


class WeakPassword(Invalid):
    code = "weak-password"
    title = "This password is among the first that anybody would try"


class UsernameRefused(Invalid):
    code = "username-refused"
    title = "This user name is somebody's address"

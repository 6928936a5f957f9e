"""Every expected no of people who work at a store."""

from kasuwa.base.problems import Conflict, Forbidden, Invalid, NotFound


class StaffNotFound(NotFound):
    """Unknown, foreign and at another location look the same."""

    code = "user-not-found"
    title = "There is no such user at this store"


class AlreadyThere(Conflict):
    code = "user-there-already"
    title = "The person is in the store already"


class SeatsUsedUp(Conflict):
    code = "seats-used-up"
    title = "The store's seats are used up"


class LastOwner(Conflict):
    code = "last-owner"
    title = "The last owner of a store stays its owner"


class NotActive(Conflict):
    code = "user-not-active"
    title = "The person is invited or suspended"


class WeakPin(Invalid):
    code = "weak-pin"
    title = "This PIN is among the first that anybody would try"


class WrongPin(Invalid):
    """Wrong, none set, unknown and of another location look the same."""

    code = "wrong-pin"
    title = "The PIN is another one"


class OwnStanding(Forbidden):
    code = "own-standing"
    title = "Nobody changes their own role or removes themselves"


class RankTooHigh(Forbidden):
    code = "rank-too-high"
    title = "This role is not below the caller's own"


class PersonOfOthersToo(Forbidden):
    code = "person-of-others-too"
    title = "The person also works where the caller does not manage people"


class UnknownRole(Invalid):
    code = "unknown-role"
    title = "There is no such role"


class UnknownPermission(Invalid):
    code = "unknown-permission"
    title = "There is no such permission to give"


class UnknownPlace(Invalid):
    code = "unknown-location"
    title = "There is no such location where the caller manages people"


class TooDeep(Invalid):
    code = "page-too-deep"
    title = "The page lies beyond 10,000 rows"

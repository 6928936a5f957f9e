"""Every expected no of customers."""

from kasuwa.base.problems import Conflict, NotFound, Unauthenticated


class CustomerNotFound(NotFound):
    """Unknown, another merchant's and erased look the same."""

    code = "customer-not-found"
    title = "There is no such customer"
    advice = "Find the customer in the list: they may have been erased, or lost the address to another."


class CustomerNameTaken(Conflict):
    code = "customer-name-taken"
    title = "Another customer of this shop has this e-mail, mobile or user name"


class WrongCustomerCredentials(Unauthenticated):
    """Unknown customer, wrong password, none chosen yet and suspended look the same."""

    code = "wrong-credentials"
    title = "User name or password is wrong"

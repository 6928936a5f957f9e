"""Every expected no of settings, pages and banners."""

from kasuwa.base.problems import Conflict, NotFound


class BannerNotFound(NotFound):
    """Unknown and another store's look the same."""

    code = "banner-not-found"
    title = "There is no such banner"
    advice = "Take its id from the list of banners."


class PageNotFound(NotFound):
    code = "page-not-found"
    title = "The store has not written this page"
    advice = "Have an owner of the store write it first."


class TooManyBanners(Conflict):
    code = "banners-full"
    title = "The store has as many banners as it can have"

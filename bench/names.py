"""Names of products as a shop in Lagos has them, put together from real words: brand, kind, quality, size.

Each place has its own list, so that the same number always has the same name, and a million have few twins.
"""

BRANDS = (
    "Adire Akara Asaba Baobab Benin Bonny Calabar Cowrie Dabino Delta Ebony Ekiti Enugu Falcon Fulani Garden"
    " Golden Gongola Harmattan Hibiscus Ibadan Ikoyi Indigo Iroko Jacaranda Kaduna Kalahari Katsina Kolanut"
    " Lagoon Lekki Lokoja Mahogany Makurdi Mangrove Maraba Minna Moonlight Nassara Niger Nimbus Obudu Ogun Okra"
    " Olumo Onitsha Orchard Oshodi Owerri Palmgrove Peacock Pelican Plateau Rainbow Riverside Sahel Savanna Silver"
    " Sokoto Sunrise Tamarind Tropic Umuahia Victoria Warri Yankari Yola Zamfara Zaria Zenith"
).split()
KINDS = (
    "Armchair Backpack Bandage Basket Battery Bedsheet Belt Bicycle Biscuit Blanket Blender Bookcase Bottle Bowl"
    " Bracelet Broom Brush Bucket Butter Cabinet Calculator Calendar Camera Candle Carpet Cassava Charger Cheese"
    " Chocolate Cinnamon Clock Coconut Coffee Compass Cooker Cream Crayon Cupboard Curtain Cushion Detergent"
    " Dictionary Drawer Dress Drill Earphones Envelope Eraser Fan Faucet Flour Folder Fork Freezer Funnel Ginger"
    " Glasses Gloves Grater Groundnut Guitar Hammer Handbag Hanger Headscarf Heater Helmet Honey Hose Inverter Iron"
    " Jacket Jug Kaftan Kettle Keyboard Knife Ladder Ladle Lamp Lantern Locker Lotion Mattress Microphone Milk"
    " Mirror Monitor Mortar Mosquito Mug Necklace Noodles Notebook Ointment Onion Padlock Paint Pancake Paper Pencil"
    " Pepper Perfume Pillow Plantain Plaster Plate Powder Printer Pullover Purse Radio Raincoat Razor Refrigerator"
    " Rice Router Ruler Sandal Sardine Scarf Scissors Screwdriver Shampoo Shovel Skirt Slipper Sneaker Soap Socks"
    " Speaker Sponge Spoon Stapler Stool Stove Sugar Suitcase Sweater Table Teapot Television Thermometer Tomato"
    " Toothbrush Torch Towel Tractor Tray Trousers Umbrella Vacuum Vinegar Wallet Wardrobe Watch Whistle Window"
    " Wrapper Yoghurt"
).split()
QUALITIES = (
    "Adjustable Antique Automatic Braided Brushed Ceramic Classic Compact Copper Corduroy Cordless Cotton Crystal"
    " Deluxe Denim Digital Double Durable Electric Embroidered Enamel Foldable Fragrant Giant Handmade Heavy"
    " Instant Insulated Knitted Leather Lightweight Linen Magnetic Marble Miniature Natural Nylon Organic Padded"
    " Patterned Plastic Polished Portable Premium Quilted Rechargeable Recycled Reusable Roasted Rubber Scented"
    " Silicone Silk Smoked Solar Spicy Stainless Striped Sturdy Suede Velvet Vintage Waterproof Wireless Wooden"
    " Woollen Woven"
).split()
SIZES = "small medium large family travel kitchen children office garden double single triple".split()


_LETTERS = "bcdfghjklmnprstvwxz"


def name_of(number: int) -> str:
    """The name of the product with that number; numbers are taken apart so that neighbours differ.

    One in ten has a model of its own, so that the shop's vocabulary grows with the shop.
    """
    mixed = number * 2_654_435_761 % 2**32
    brand, mixed = BRANDS[mixed % len(BRANDS)], mixed // len(BRANDS)
    kind, mixed = KINDS[mixed % len(KINDS)], mixed // len(KINDS)
    quality, mixed = QUALITIES[mixed % len(QUALITIES)], mixed // len(QUALITIES)
    name = f"{brand} {quality} {kind} {SIZES[mixed % len(SIZES)]} {number % 97 + 1}"
    if number % 10:
        return name
    first, second = _LETTERS[number // 10 % 19], _LETTERS[number // 190 % 19]
    return f"{name} {first}{second}{number // 10:05d}"

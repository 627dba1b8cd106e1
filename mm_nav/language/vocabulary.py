"""English words for what the stack can name: things, colours, materials, sizes and rooms.

`CATEGORIES` are the words that a network is taught (mm_nav.sim.vocabulary draws from them); `FURTHER_WORDS` are other words
of people for the same things. Words are lower case and singular; `singular` takes a plural back.
"""

from __future__ import annotations

from collections.abc import Mapping

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "chair": ("chair", "seat"),
    "table": ("table", "desk"),
    "sofa": ("sofa", "couch", "settee"),
    "shelf": ("shelf", "bookshelf", "bookcase", "rack"),
    "plant": ("plant", "potted plant", "houseplant"),
    "barrel": ("barrel", "drum", "keg"),
    "box": ("box", "crate", "carton"),
    "cone": ("cone", "traffic cone", "pylon"),
    "bin": ("bin", "trash can", "waste basket", "rubbish bin"),
    "lamp": ("lamp", "floor lamp", "standing lamp"),
    "door": ("door", "doorway"),
    "cabinet": ("cabinet", "cupboard", "sideboard"),
    "bed": ("bed", "mattress"),
    "stool": ("stool", "bar stool"),
    "pallet": ("pallet", "skid"),
    "ladder": ("ladder", "stepladder"),
    "suitcase": ("suitcase", "trolley case"),
    "ball": ("ball",),
    "bench": ("bench",),
}
FURTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "chair": (
        "armchair", "office chair", "desk chair", "dining chair", "kitchen chair", "wooden chair", "recliner", "rocking chair",
        "easy chair", "swivel chair", "folding chair", "high chair", "throne", "beanbag", "deckchair",
    ),
    "table": (
        "dining table", "coffee table", "side table", "kitchen table", "writing desk", "work desk", "workbench", "worktable",
        "work table", "end table", "computer desk", "office desk", "tabletop",
    ),
    "sofa": ("loveseat", "love seat", "divan", "davenport", "chesterfield", "sofa bed", "futon", "lounge sofa",
        "sectional", "chaise", "banquette", "chaise longue"),
    "shelf": (
        "shelving", "shelf unit", "shelving unit", "book shelf", "book case", "book rack", "shelves", "bookshelves",
        "storage rack",
        "display shelf", "stand of books",
    ),
    "plant": (
        "flower", "flowerpot", "flower pot", "pot plant", "house plant", "shrub", "fern", "bush", "greenery", "tree", "palm",
        "indoor plant", "ficus", "planter", "cactus", "bonsai", "orchid", "sapling",
    ),
    "barrel": ("cask", "oil drum", "oil barrel", "rain barrel", "vat", "tun", "hogshead", "canister", "tank"),
    "box": ("cardboard box", "packing case", "package", "parcel", "chest", "packing box", "moving box", "packet", "container"),
    "cone": ("road cone", "safety cone", "warning cone", "orange cone", "marker cone", "traffic pylon", "witch's hat"),
    "bin": (
        "trashcan", "garbage can", "dustbin", "wastebasket", "waste bin", "trash bin", "trash", "garbage bin", "litter bin",
        "wastepaper basket", "waste paper basket", "bucket", "garbage", "recycling bin", "pail", "rubbish", "refuse bin",
        "hamper", "wastebin", "dumpster",
    ),
    "lamp": (
        "light", "lampstand", "lamp stand", "floor light", "standing light", "torchiere", "lantern", "reading lamp", "desk lamp",
        "lamppost", "lamp post", "luminaire", "sconce", "chandelier",
    ),
    "door": ("entrance", "exit", "doors", "entry", "gate", "way out", "door leaf", "entryway"),
    "cabinet": (
        "dresser", "wardrobe", "closet", "armoire", "filing cabinet", "credenza", "locker", "buffet", "chest of drawers",
        "commode",
        "drawer", "kitchen cabinet", "file cabinet", "bureau", "larder", "hutch",
    ),
    "bed": ("cot", "bunk", "bunk bed", "double bed", "single bed", "bedstead", "berth", "king-size bed", "crib"),
    "stool": ("barstool", "footstool", "foot stool", "counter stool", "step stool", "pouf", "pouffe", "hassock",
        "ottoman", "hocker", "tabouret"),
    "pallet": ("wooden pallet", "euro pallet", "europallet", "palette", "shipping pallet"),
    "ladder": ("step ladder", "steps", "extension ladder", "set of steps"),
    "suitcase": (
        "case", "luggage", "trolley bag", "travel case", "valise", "baggage", "trolley", "travel bag",
        "rolling suitcase", "trunk", "backpack", "rucksack", "bag", "handbag",
    ),
    "ball": ("football", "soccer ball", "basketball", "beach ball", "sphere", "exercise ball", "gym ball"),
    "bench": ("park bench", "pew", "wooden bench", "settle"),
}  # fmt: skip
# What has its colour only high up: a floor lamp its shade.
HIGH_COLOURED = ("lamp",)
# What each thing is most easily taken for, likeliest first (measured with trained networks; see docs/training.md).
RIVALS: Mapping[str, tuple[str, ...]] = {
    "chair": ("stool", "table", "bench", "lamp"),
    "stool": ("chair", "table", "lamp", "bench"),
    "table": ("chair", "stool", "bench", "shelf"),
    "bench": ("table", "chair", "box", "stool"),
    "sofa": ("box", "bed", "pallet", "cabinet"),
    "box": ("sofa", "pallet", "bin", "cabinet"),
    "bed": ("sofa", "pallet", "table", "box"),
    "pallet": ("bed", "box", "sofa", "shelf"),
    "bin": ("suitcase", "box", "barrel", "cabinet"),
    "barrel": ("cabinet", "bin", "suitcase", "box"),
    "suitcase": ("barrel", "bin", "box", "cabinet"),
    "cabinet": ("box", "barrel", "shelf", "bin"),
    "shelf": ("door", "cabinet", "ladder", "table"),
    "door": ("shelf", "cabinet", "box", "ladder"),
    "ladder": ("shelf", "chair", "table", "door"),
    "lamp": ("stool", "chair", "plant", "cone"),
    "plant": ("lamp", "cone", "stool", "bin"),
    "cone": ("bin", "plant", "ball", "barrel"),
    "ball": ("box", "bin", "cone", "barrel"),
}
COLOURS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "reddish", "ruby", "maroon", "vermilion"),
    "orange": ("orange", "orangey", "tangerine", "amber"),
    "yellow": ("yellow", "golden", "gold", "yellowish", "lemon"),
    "green": ("green", "emerald", "greenish", "lime", "olive"),
    "cyan": ("cyan", "turquoise", "teal", "aqua"),
    "blue": ("blue", "navy", "bluish", "azure"),
    "purple": ("purple", "violet", "lilac", "mauve"),
    "pink": ("pink", "rose", "magenta", "pinkish", "fuchsia"),
    "brown": ("brown", "chocolate", "brownish", "tan", "beige"),
    "white": ("white", "ivory", "cream", "whitish"),
    "grey": ("grey", "gray", "greyish", "grayish", "silver"),
    "black": ("black", "jet black", "jet", "blackish"),
}
# The colour that each word means.
COLOUR_OF: Mapping[str, str] = {word: name for name, words in COLOURS.items() for word in words}
COLOUR_NAMES = frozenset(COLOUR_OF)
MATERIALS = (
    "wood", "wooden", "metal", "metallic", "plastic", "fabric", "cloth", "leather", "cardboard", "ceramic", "rubber", "steel",
    "iron", "glass",
)  # fmt: skip
SIZES = (
    "small", "large", "big", "tall", "short", "tiny", "huge", "little", "long", "wide", "narrow", "low", "high",
    "smaller", "larger",
    "bigger", "taller", "shorter", "biggest", "smallest", "largest", "tallest", "shortest", "giant", "compact", "great",
)  # fmt: skip
OTHER_ADJECTIVES = (
    "other", "leftmost", "rightmost",
    "same", "only", "single", "nice", "old", "new", "round", "square", "empty", "bright", "dark", "light", "pale",
    "coloured", "colored", "painted", "rectangular", "cylindrical", "deep", "very", "pretty", "lone", "nearby", "next", "lovely",
)  # fmt: skip
# Words that stand for anything.
GENERIC = (
    "thing", "object", "item", "one", "something", "anything", "it", "that", "this", "stuff", "piece", "target", "obstacle",
    "furniture", "ones", "goal", "destination", "device", "piece of furniture", "article",
)  # fmt: skip
# Places, and what stands in one of that name ("" = no telling thing).
ROOMS: Mapping[str, str] = {
    "room": "", "bedroom": "bed", "kitchen": "", "office": "desk", "living room": "sofa", "lounge": "sofa", "bathroom": "",
    "study": "desk", "hall": "", "hallway": "", "corridor": "", "passage": "", "aisle": "", "warehouse": "", "storeroom": "",
    "storage room": "", "lobby": "", "dining room": "table", "entrance hall": "", "garage": "", "corner": "", "passageway": "",
    "library": "bookshelf", "workshop": "", "meeting room": "table", "conference room": "table", "wall": "", "middle": "",
    "centre": "", "center": "", "end": "", "floor": "", "house": "", "apartment": "", "flat": "", "side": "", "left": "",
    "right": "",
    "pantry": "", "cellar": "", "basement": "", "attic": "", "nursery": "bed", "guest room": "bed", "hallways": "",
}  # fmt: skip
CORRIDOR_WORDS = ("corridor", "hallway", "hall", "passageway", "passage", "aisle")


# Things that people do name and no category means, though the sentence encoder finds them near to one.
OTHER_THINGS = (
    "toilet", "computer", "keyboard", "fridge", "refrigerator", "window", "sink", "cup", "mug", "bird", "knife", "fork", "spoon",
    "music", "mirror", "television", "tv", "monitor", "laptop", "printer", "phone", "telephone", "microwave", "oven", "stove",
    "bathtub", "shower", "car", "bicycle", "bike", "guitar", "piano", "bottle", "shoe", "king", "president", "person", "man",
    "woman", "child", "boy", "girl", "people", "human", "dog", "cat", "animal", "book", "curtain", "carpet", "rug",
    "pillow", "clock",
    "picture", "painting", "poster", "fan", "radiator", "heater", "fireplace", "plate", "glass", "pen", "paper",
    "banana", "apple",
    "pizza", "ship", "boat", "bus", "train", "airplane", "plane", "horse", "elephant", "moon", "sun", "truck", "robot",
    "forklift",
    "elevator", "lift", "stairs", "staircase", "escalator", "washing machine", "dishwasher", "hat", "coat", "umbrella", "vase",
)  # fmt: skip


def category_words(names: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return all words of the named categories (none named: of all), taught ones first. A name of no list is its own word."""
    chosen = names or tuple(CATEGORIES)
    return {name: (*CATEGORIES.get(name, (name,)), *FURTHER_WORDS.get(name, ())) for name in chosen}


def singular(word: str) -> str:
    """Return the singular of a plain English plural; other words as they are. "boxes" -> box, "shelves" -> shelf."""
    for ending, instead in (("shelves", "shelf"), ("ches", "ch"), ("xes", "x"), ("ies", "y")):
        if word.endswith(ending) and len(word) > len(ending):
            return word[: -len(ending)] + instead
    if word == "shelves":
        return "shelf"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word

"""Refusals in 25 more languages, several ways of saying it in each, and answers that look like them."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate
from semantic_entropy.clusters.refusals import is_refusal

REFUSALS = {
    "Italian": [
        *(
            "Non lo so.",
            "Mi dispiace, non lo so.",
            "Mi dispiace ma non posso rispondere a questa domanda.",
            "Non ne ho idea.",
        ),
        *("Non ho abbastanza informazioni per rispondere.", "Non saprei.", "Purtroppo non sono in grado di aiutarti."),
    ],
    "Dutch": [
        *(
            "Ik weet het niet.",
            "Sorry, dat weet ik niet.",
            "Geen idee",
            "Ik heb geen idee.",
            "Ik kan die vraag niet beantwoorden.",
        ),
        *("Helaas heb ik daar geen informatie over.", "Onbekend", "Het spijt me, ik kan u daar niet mee helpen."),
    ],
    "Polish": [
        *("Nie wiem.", "Przepraszam, nie wiem.", "Nie mam pojęcia.", "Niestety nie mogę odpowiedzieć na to pytanie."),
        *(
            "Nie mam wystarczających informacji.",
            "Trudno powiedzieć",
            "Nie znam odpowiedzi na to pytanie.",
            "Brak danych",
        ),
    ],
    "Turkish": [
        *(
            "Bilmiyorum.",
            "Üzgünüm, bilmiyorum.",
            "Hiçbir fikrim yok.",
            "Bu konuda bilgim yok.",
            "Bu soruya cevap veremiyorum.",
        ),
        *("Emin değilim", "Maalesef yardımcı olamam.", "Cevabı bilmiyorum."),
    ],
    "Indonesian": [
        *("Saya tidak tahu.", "Maaf, saya tidak tahu.", "Saya tidak dapat menjawab pertanyaan itu.", "Tidak tahu"),
        *("Saya tidak memiliki informasi tentang hal itu.", "Saya tidak yakin."),
    ],
    "Vietnamese": [
        *("Tôi không biết.", "Xin lỗi, tôi không biết.", "Tôi không chắc.", "Tôi không thể trả lời câu hỏi này."),
        "Tôi không có thông tin về điều đó.",
    ],
    "Swedish": [
        "Jag vet inte.",
        "Det vet jag inte.",
        "Ingen aning",
        "Tyvärr kan jag inte svara på det.",
        "Jag är osäker.",
    ],
    "Danish": [
        "Det ved jeg ikke.",
        "Jeg ved det ikke.",
        "Jeg har ingen anelse.",
        "Beklager, jeg kan ikke svare på det.",
    ],
    "Norwegian": ["Jeg vet ikke.", "Det vet jeg ikke.", "Dessverre, jeg vet ikke svaret.", "Jeg har ingen anelse."],
    "Finnish": [
        "En tiedä.",
        "En osaa sanoa.",
        "Minulla ei ole aavistustakaan.",
        "Valitettavasti en voi vastata tähän.",
    ],
    "Czech": ["Nevím.", "Omlouvám se, nevím.", "Netuším", "Nemohu odpovědět na tuto otázku.", "Nejsem si jistý"],
    "Romanian": ["Nu știu.", "Îmi pare rău, nu știu.", "Nu am idee.", "Nu pot să răspund la această întrebare."],
    "Hungarian": ["Nem tudom.", "Sajnálom, nem tudom.", "Fogalmam sincs.", "Sajnos nem tudok válaszolni."],
    "Tagalog": ["Hindi ko alam.", "Pasensya na, hindi ko alam.", "Wala akong ideya.", "Hindi ko po alam ang sagot."],
    "Swahili": ["Sijui.", "Samahani, sijui.", "Sina uhakika.", "Siwezi kujibu swali hilo."],
    "Catalan": ["No ho sé.", "Ho sento, no ho sé.", "No tinc cap idea.", "No puc respondre a aquesta pregunta."],
    "Korean": [
        *(
            "모르겠습니다.",
            "죄송하지만 모르겠습니다.",
            "잘 모르겠어요.",
            "모릅니다.",
            "알 수 없습니다.",
            "정보가 없습니다.",
        ),
        *(
            "죄송합니다. 그 질문에 대해서는 답변드릴 수 없습니다.",
            "관련 정보를 찾을 수 없습니다.",
            "누가 썼는지 모르겠습니다.",
        ),
    ],
    "Persian": ["نمی‌دانم.", "متاسفم، نمی‌دانم.", "من نمی دانم", "مطمئن نیستم.", "اطلاعات کافی ندارم."],
    "Urdu": ["مجھے نہیں معلوم۔", "معذرت، مجھے نہیں معلوم۔", "معلوم نہیں", "میں نہیں جانتا"],
    "Ukrainian": [
        "Я не знаю.",
        "На жаль, я не знаю.",
        "Гадки не маю.",
        "Я не можу відповісти на це питання.",
        "Невідомо",
    ],
    "Greek": [
        "Δεν ξέρω.",
        "Λυπάμαι, δεν ξέρω.",
        "Δεν έχω ιδέα.",
        "Δεν μπορώ να απαντήσω σε αυτή την ερώτηση.",
        "Άγνωστο",
    ],
    "Hebrew": ["אני לא יודע.", "מצטער, אני לא יודע.", "אין לי מושג", "אני לא יכול לענות על השאלה הזו."],
    "Thai": ["ไม่ทราบ", "ฉันไม่รู้", "ขออภัยครับ ผมไม่ทราบครับ", "ไม่มีข้อมูล", "ฉันไม่สามารถตอบคำถามนี้ได้"],
    "Tamil": ["எனக்குத் தெரியாது.", "தெரியவில்லை", "தகவல் இல்லை"],
    "Telugu": ["నాకు తెలియదు.", "తెలియదు", "సమాచారం లేదు"],
    "Marathi": ["मला माहीत नाही.", "माहिती उपलब्ध नाही", "क्षमा करा, मला माहीत नाही."],
}
ANSWERS = [
    "I Can't Answer That is a song of 2011",
    'The song is called "I Can\'t Answer That"',
    'He said "non lo so" and left',
    *(
        "Non lo so, forse Roma",
        "Non so se è Roma, ma penso di sì: Roma",
        "Non conosco Roma",
        "Non posso vivere senza te",
        "Il non so che",
    ),
    *("La Sconosciuta", "Dati Personali", "So", "Nessuno", "Nessun dorma", "Non ti scordar di me"),
    *(
        "Ik weet het niet, misschien Amsterdam",
        "Geen",
        "Geen Stijl",
        "Ik weet het: Amsterdam",
        "Ik kan niet slapen",
        "Onbekende soldaat",
    ),
    *("Nie wiem, może Kraków", "Nie", "Nie ma Boga", "Nie mogę spać", "Nieznany żołnierz", "Wiem, że nic nie wiem"),
    *(
        "Bilmiyorum, belki Ankara",
        "Bilgi",
        "Bilgi Üniversitesi",
        "Bilgisayar",
        "Yok",
        "Ankara'da yaşıyor",
        "Emin Alper",
    ),
    *("Saya tidak tahu, mungkin Jakarta", "Tidak", "Tahu", "Tidak ada", "Tahu goreng", "Tau", "Maaf"),
    *("Không", "Tôi không biết, có thể là Hà Nội", "Không quân", "Hà Nội", "Khong Guan"),
    *("Jag vet inte, kanske Stockholm", "Vet", "Inte", "Okänd soldat", "Ingen", "Ingen vet att det är Stockholm"),
    *("Det ved jeg ikke, måske Aarhus", "Ved havet", "Ikke", "Ukendt soldat", "Vet du hva"),
    *("En tiedä, ehkä Helsinki", "Tuntematon sotilas", "Ei", "En", "Tieto"),
    *("Nevím, možná Praha", "Ne", "Neznámý vojín", "Nevidím Prahu"),
    *("Nu știu, poate București", "Nu", "Necunoscutul", "Nu pot să dorm"),
    *("Nem tudom, talán Budapest", "Nem", "Ismeretlen katona", "Nem tudok aludni"),
    *("Hindi", "Hindi ko alam, baka Maynila", "Wala", "Walang hanggan", "Ewan McGregor"),
    *("Sijui, labda Nairobi", "Siwezi kulala", "Hapana"),
    *("No ho sé, potser Barcelona", "No puc dormir"),
    *(
        "모르겠지만 서울",
        "모르겠어요, 아마 서울",
        "모르핀",
        "정보",
        "대한민국",
        "서울",
        "모로코",
        "정보통신부",
        "알 수 없는 사랑",
        "그는 모릅니다만 서울입니다",
    ),
    *("نمی‌دانم، شاید تهران", "تهران", "نامه", "ایده"),
    *("لاہور", "مجھے معلوم ہے لاہور", "نہیں"),
    *("Я не знаю, може Київ", "Київ", "Не", "Невідомий солдат"),
    *("Δεν ξέρω, ίσως Αθήνα", "Αθήνα", "Δεν", "Άγνωστος στρατιώτης"),
    *("אני לא יודע, אולי ירושלים", "ירושלים", "לא", "החייל האלמוני"),
    *("กรุงเทพ", "ไม่", "ไม่ใช่", "ความรู้"),
    *("சென்னை", "இல்லை", "హైదరాబాద్", "లేదు", "मुंबई", "नाही", "माहिती अधिकार"),
]


@pytest.mark.parametrize("text", [text for texts in REFUSALS.values() for text in texts])
def test_a_text_that_only_declines_is_a_refusal(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_a_text_that_says_something_is_an_answer(text):
    assert not is_refusal(text)


@pytest.mark.parametrize("language", REFUSALS)
def test_a_group_of_refusals_has_no_valid_answer(language):
    assert estimate(REFUSALS[language], equivalence="exact").n_valid == 0

package invent

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// namePools holds, a line each, a pool's key, given names and family names. A name
// that is not in Latin letters carries, after "=", what its owner writes in an
// e-mail address.
const namePools = `
en|James Mary Robert Patricia Michael Jennifer David Linda Sean Siobhán Aisha Tyrone Grace Noah|Smith Johnson O'Brien Williams Brown McDonald Davis Wilson Anderson Taylor St.·John Nguyen Fitzgerald
fr|Léa Hélène François Chloé Théo Zoé Jean-Luc Amélie Noël Inès|Lefèvre Dubois Moreau d'Aubigné Müller Gauthier Chevalier de·La·Tour Benoît
it|Giulia Marco Niccolò Chiara Alessandro Francesca Matteo Sofia Lucà|Rossi Russo Ferrari Bianchi D'Angelo De·Luca Esposito Galli
de|Jürgen Anna Lukas Sophie Björn Käthe Hans-Peter Leonie Jörg|Müller Schmidt Weiß Groß von·Bülow Schröder Fischer Köhler
es|María José Íñigo Lucía Andrés Begoña Camila Santiago Ángela|García·Márquez Núñez López Peña Fernández Rodríguez Ibáñez Muñoz
pt|João Inês Gonçalo Conceição Luís Mariana Thaís Antônio|Silva Gonçalves Araújo Magalhães dos·Santos Conceição Simões
nl|Sanne Daan Lotte Thijs Maartje Joris|de·Vries van·den·Berg Jansen Bakker 't·Hooft van·Dijk
no|Åse Bjørn Sören Ingrid Øyvind Astrid Mikko Päivi Jökull|Åkesson Sørensen Virtanen Lindström Østergård Hansen Mäkinen
pl|Łukasz Agnieszka Zdzisław Małgorzata Václav Jiřina Žofie Gábor Erzsébet Ștefan|Wójcik Kowalska Dvořák Novák Nagy Szűcs Łęcki Popescu Țurcanu
tr|Ayşe Mehmet Çağla İbrahim Gökhan Şule|Yılmaz Çelik Öztürk Şahin Doğan
el|Ελένη=eleni Γιώργος=giorgos Δημήτρης=dimitris Σοφία=sofia Κώστας=kostas|Παπαδόπουλος=papadopoulos Γεωργίου=georgiou Νικολάου=nikolaou Ιωάννου=ioannou
ru|Наталья=natalya Алексей=alexey Ольга=olga Дмитрий=dmitry Їжак=yizhak Мария=maria|Иванов=ivanov Шевченко=shevchenko Кузнецова=kuznetsova Петров=petrov Ђорђевић=djordjevic
ar|محمد=mohammed فاطمة=fatima أحمد=ahmed نور=noor خالد=khalid ليلى=layla|الحسن=alhassan المنصوري=almansouri حداد=haddad القاسمي=alqasimi خوري=khoury
he|נועה=noa יוסף=yosef תמר=tamar דוד=david|כהן=cohen לוי=levi מזרחי=mizrahi פרץ=peretz
ja|太郎=taro 花子=hanako 陽菜=hina 蓮=ren さくら=sakura ケンジ=kenji|佐藤=sato 鈴木=suzuki 髙橋=takahashi 田中=tanaka 渡邉=watanabe
ko|민준=minjun 서연=seoyeon 지우=jiwoo 하은=haeun 도윤=doyoon|김=kim 이=lee 박=park 최=choi 정=jung
zh|伟=wei 芳=fang 秀英=xiuying 娜=na 子轩=zixuan 欣怡=xinyi|王=wang 李=li 张=zhang 歐陽=ouyang 陳=chen 刘=liu
hi|आरव=aarav प्रिया=priya राहुल=rahul अनन्या=ananya Sanjay Deepa|शर्मा=sharma पटेल=patel सिंह=singh Iyer Mehta
th|สมชาย=somchai มาลี=malee ณัฐ=nat พิมพ์=pim|ใจดี=jaidee ศรีสุข=srisuk วงศ์ไทย=wongthai
`

// countryTable holds, a line each: country, pool of names, locale, currency, a
// mobile number in which every "#" becomes a digit, a postal code likewise, a
// street form ("%" the street's name, "#" the number), streets, cities.
const countryTable = `
US|en|en-US|USD|+1 212 ### ####|#####|# %|Main St,Oak Ave,Elm Street Apt 4B,Martin Luther King Jr. Blvd|*
CA|en|en-CA|CAD|+1 416 ### ####|M#V #K#|# %|Queen St W,King Street,Rue Sainte-Catherine|Toronto/ON,Montréal/QC,Vancouver/BC
GB|en|en-GB|GBP|+44 7400 ######|SW#A #AA|# %|High Street,Church Lane,Victoria Road|London,Manchester,Edinburgh
IE|en|en-IE|EUR|+353 85 ### ####|D0# X###|# %|Grafton Street,O'Connell Street|Dublin,Cork,Galway
AU|en|en-AU|AUD|+61 412 ### ###|2###|# %|George Street,Collins St|Sydney/NSW,Melbourne/VIC,Perth/WA
NZ|en|en-NZ|NZD|+64 21 ### ####|#0##|# %|Queen Street,Karangahape Road|Auckland,Wellington
ZA|en|en-ZA|ZAR|+27 82 ### ####|2###|# %|Long Street,Jan Smuts Avenue|Johannesburg,Cape Town
SG|zh|en-SG|SGD|+65 8123 ####|23####|# %|Orchard Road,Tanjong Pagar Rd|Singapore
FR|fr|fr-FR|EUR|+33 6 12 ## ## ##|75###|# %|rue de l'Église,avenue Montaigne,boulevard Saint-Germain|Paris,Lyon,Saint-Étienne
BE|fr|fr-BE|EUR|+32 470 ## ## ##|1###|% #|rue Neuve,Meir|Bruxelles,Antwerpen,Liège
LU|fr|fr-LU|EUR|+352 621 ### ###|L-1###|# %|Grand-Rue,rue Philippe II|Luxembourg
CH|de|de-CH|CHF|+41 78 ### ## ##|8###|% #|Bahnhofstrasse,Rue du Rhône|Zürich,Genève,Lugano
MC|fr|fr-MC|EUR|+377 6 12 ## ## ##|98000|# %|avenue de Monte-Carlo|Monaco
IT|it|it-IT|EUR|+39 312 ### ####|20###|% #|Via Montenapoleone,Corso Vittorio Emanuele II,Via dell'Università|Milano/MI,Roma/RM,Firenze/FI
DE|de|de-DE|EUR|+49 1512 #######|1####|% #|Maximilianstraße,Königsallee,Hauptstraße|München,Köln,Düsseldorf
AT|de|de-AT|EUR|+43 664 ######|1##0|% #|Kärntner Straße,Graben|Wien,Graz
ES|es|es-ES|EUR|+34 612 ### ###|28###|% #|Calle de Serrano,Paseo de Gràcia|Madrid,A Coruña,Barcelona
MX|es|es-MX|MXN|+52 55 1### ####|06###|% #|Avenida Presidente Masaryk,Calle 5 de Mayo|Ciudad de México/CDMX,Mérida/YUC
AR|es|es-AR|ARS|+54 9 11 2### ####|C1###AAB|% #|Avenida Alvear,Florida|Buenos Aires,Córdoba
CO|es|es-CO|COP|+57 301 ### ####|11####|% #|Carrera 11,Calle 82|Bogotá,Medellín
CL|es|es-CL|CLP|+56 9 62## ####|75#####|% #|Avenida Alonso de Córdova|Santiago,Viña del Mar
PT|pt|pt-PT|EUR|+351 912 ### ###|12##-###|% #|Avenida da Liberdade,Rua Garrett|Lisboa,Porto
BR|pt|pt-BR|BRL|+55 11 9612# ####|01###-###|% #|Rua Oscar Freire,Av. Paulista|São Paulo/SP,Rio de Janeiro/RJ
NL|nl|nl-NL|EUR|+31 6 12 ## ## ##|10## AB|% #|P.C. Hooftstraat,Lijnbaan|Amsterdam,'s-Hertogenbosch
SE|no|sv-SE|SEK|+46 70 123 ## ##|11# ##|% #|Biblioteksgatan,Kungsgatan|Stockholm,Göteborg,Malmö
NO|no|nb-NO|NOK|+47 406 ## ###|0###|% #|Karl Johans gate|Oslo,Tromsø
DK|no|da-DK|DKK|+45 32 ## ## ##|1###|% #|Strøget,Østergade|København,Århus
FI|no|fi-FI|EUR|+358 41 ### ####|00##0|% #|Mannerheimintie|Helsinki,Jyväskylä
PL|pl|pl-PL|PLN|+48 512 ### ###|00-###|% #|ulica Marszałkowska,Plac Trzech Krzyży|Warszawa,Łódź,Kraków
CZ|pl|cs-CZ|CZK|+420 601 ### ###|110 ##|% #|Pařížská|Praha,Plzeň
HU|pl|hu-HU|HUF|+36 20 ### ####|10##|% #|Andrássy út|Budapest,Győr
RO|pl|ro-RO|RON|+40 712 ### ###|01####|% #|Calea Victoriei|București,Iași
TR|tr|tr-TR|TRY|+90 501 ### ## ##|34###|% #|Abdi İpekçi Caddesi|İstanbul,İzmir
GR|el|el-GR|EUR|+30 691 ### ####|106 ##|% #|Ερμού,Βουκουρεστίου|Αθήνα,Θεσσαλονίκη
UA|ru|uk-UA|UAH|+380 50 ### ## ##|01###|% #|вулиця Хрещатик|Київ,Львів
AE|ar|ar-AE|AED|+971 50 ### ####||% #|شارع الشيخ زايد|دبي,أبوظبي
IL|he|he-IL|ILS|+972 50 234 ####|61#####|% #|רוטשילד|תל אביב,חיפה
JP|ja|ja-JP|JPY|+81 90 1### ####|10#-00##|%#丁目|銀座,表参道,心斎橋|東京/東京都,大阪/大阪府
KR|ko|ko-KR|KRW|+82 10 2### ####|06###|% #|압구정로,청담동|서울,부산
IN|hi|hi-IN|INR|+91 81234 #####|1100##|#, %|Linking Road,एमजी रोड|मुंबई/MH,नई दिल्ली/DL
`

// stateTable holds the states of the US and the District of Columbia, each with a
// city and the first three digits of one of its postal codes.
const stateTable = `AL Birmingham 352,AK Anchorage 995,AZ Phoenix 850,AR Little·Rock 722,CA Los·Angeles 900,CO Denver 802,CT Hartford 061,DE Wilmington 198,DC Washington 200,FL Miami 331,GA Atlanta 303,HI Honolulu 968,ID Boise 837,IL Chicago 606,IN Indianapolis 462,IA Des·Moines 503,KS Wichita 672,KY Louisville 402,LA New·Orleans 701,ME Portland 041,MD Baltimore 212,MA Boston 021,MI Detroit 482,MN Minneapolis 554,MS Jackson 392,MO St.·Louis 631,MT Billings 591,NE Omaha 681,NV Las·Vegas 891,NH Manchester 031,NJ Newark 071,NM Albuquerque 871,NY New·York 100,NC Charlotte 282,ND Fargo 581,OH Columbus 432,OK Tulsa 741,OR Portland 972,PA Philadelphia 191,RI Providence 029,SC Charleston 294,SD Sioux·Falls 571,TN Nashville 372,TX Houston 770,UT Salt·Lake·City 841,VT Burlington 054,VA Richmond 232,WA Seattle 981,WV Charleston 253,WI Milwaukee 532,WY Cheyenne 820`

// name is one name and its form in an e-mail address.
type name struct{ text, ascii string }

// pool is the names of one language or script.
type pool struct{ given, family []name }

// place is a city, its region and, where known, how its postal codes begin.
type place struct{ city, region, postal string }

// country is what is needed to give somebody an address there.
type country struct {
	code, locale, currency, phone, postal, form string
	names                                       *pool
	streets                                     []string
	places                                      []place
}

// parseCountries reads the tables. They are constants, checked by a test, so a
// fault in them is a fault of this package.
func parseCountries() []country {
	pools := map[string]*pool{}
	for line := range strings.Lines(strings.TrimSpace(namePools)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		pools[f[0]] = &pool{given: parseNames(f[1]), family: parseNames(f[2])}
	}
	var out []country
	for line := range strings.Lines(strings.TrimSpace(countryTable)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 9 || pools[f[1]] == nil {
			panic(fmt.Sprintf("generate: country table: %q", line))
		}
		c := country{code: f[0], names: pools[f[1]], locale: f[2], currency: f[3], phone: f[4],
			postal: f[5], form: f[6], streets: strings.Split(f[7], ",")}
		if f[8] == "*" {
			for s := range strings.SplitSeq(stateTable, ",") {
				p := strings.Fields(s)
				c.places = append(c.places, place{spaces(p[1]), p[0], p[2] + "##"})
			}
		} else {
			for s := range strings.SplitSeq(f[8], ",") {
				city, region, _ := strings.Cut(s, "/")
				c.places = append(c.places, place{city: city, region: region})
			}
		}
		out = append(out, c)
	}
	return out
}

func parseNames(s string) []name {
	var out []name
	for w := range strings.FieldsSeq(s) {
		text, ascii, ok := strings.Cut(w, "=")
		if !ok {
			ascii = fold(text)
		}
		out = append(out, name{spaces(text), ascii})
	}
	return out
}

// spaces turns the tables' middle dot into the space that it stands for.
func spaces(s string) string { return strings.ReplaceAll(s, "·", " ") }

// fold gives the lower-case ASCII letters that people write for a Latin name.
func fold(s string) string {
	s = strings.NewReplacer("ß", "ss", "ø", "o", "Ø", "o", "ł", "l", "Ł", "l", "ı", "i").Replace(s)
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		if r = unicode.ToLower(r); r >= 'a' && r <= 'z' {
			b.WriteRune(r)
		}
	}
	return b.String()
}
